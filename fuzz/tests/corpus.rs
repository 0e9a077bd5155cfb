//! The fuzz targets without a fuzzer: every committed input, and mutations of them for some seconds.
//!
//! `VMSGATE_FUZZ_SEED=N` repeats a run, `VMSGATE_FUZZ_RUNS=N` makes it longer, `VMSGATE_FUZZ_TARGET=NAME` runs one
//! target alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod seeds;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use vmsgate_fuzz::mutate::mutate;
use vmsgate_fuzz::{TARGETS, Target};

/// Mutations of a target.
const RUNS: u64 = 1000;

#[test]
fn every_committed_input_is_survived() {
    for target in TARGETS {
        let inputs = corpus(target);
        let taken: u64 = inputs.iter().map(|(name, input)| run(target, input, name)).sum();
        println!("{}: {} inputs, {taken} taken for good", target.0, inputs.len());
        assert!(taken > 0, "{}: no input of the corpus gets behind the first checks", target.0);
    }
}

#[test]
fn mutations_of_the_corpora_are_survived() {
    let seed = number("VMSGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let runs = number("VMSGATE_FUZZ_RUNS").unwrap_or(RUNS);
    let only = std::env::var("VMSGATE_FUZZ_TARGET").ok();
    println!("VMSGATE_FUZZ_SEED={seed}");
    for target in TARGETS.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let mut random = fastrand::Rng::with_seed(seed);
        let corpus: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
        let started = std::time::Instant::now();
        let mut taken = 0;
        for number in 0..runs {
            let (one, other) = (random.usize(..corpus.len()), random.usize(..corpus.len()));
            let input = mutate(&corpus[one], &corpus[other], &mut random);
            taken += run(target, &input, &format!("VMSGATE_FUZZ_SEED={seed}, mutation {number}"));
        }
        println!("{}: {runs} runs in {:?}, {taken} taken for good", target.0, started.elapsed());
    }
}

/// `VMSGATE_UPDATE_CORPUS=1` writes them: the code of `seeds.rs` says what they are.
#[test]
fn the_corpora_hold_every_seed() {
    for (target, name, bytes) in seeds::all() {
        let path = folder(target).join(name);
        if std::env::var_os("VMSGATE_UPDATE_CORPUS").is_some() {
            fs::create_dir_all(folder(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let written = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(written, bytes, "{}", path.display());
    }
}

/// How much of the input was taken for good.
fn run((target, function): Target, input: &[u8], what: &str) -> u64 {
    catch_unwind(AssertUnwindSafe(|| function(input))).unwrap_or_else(|_| {
        let path = std::env::temp_dir().join(format!("vmsgate-fuzz-{target}"));
        fs::write(&path, input).unwrap();
        panic!("{target} failed on {what}; the input is in {}: {}", path.display(), input.escape_ascii());
    })
}

fn corpus((target, _): Target) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    if target == "config" {
        paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gateway.toml"));
    }
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}
