//! What the hot functions of the packet path cost, in instructions, against the figures in `tests/bench/instructions.toml`.
//!
//! Counts repeat on a noisy machine where times do not, so a change that makes the path dearer is seen at once. The margin
//! is wide: a new compiler may move a figure by some per cent, a new copy of every packet moves it by much more. After
//! a change that is meant to move them:
//!
//! ```sh
//! VMSGATE_UPDATE_INSTRUCTIONS=1 cargo test -p vmsgate-tests --test instructions -- --ignored
//! ```
//!
//! Counts are made in the release profile, by callgrind. The cryptography picks its code by the processor's instruction sets,
//! of which callgrind knows no AVX-512: only figures made with the same sets are compared, so each has a section of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use vmsgate_tests::{checkout, process::capture, require};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/instructions.toml");
const UPDATE: &str = "VMSGATE_UPDATE_INSTRUCTIONS";
/// Of the stored figure, either way.
const MARGIN: f64 = 0.25;
const ROUNDS: u64 = 20;

const HEADER: &str = "\
# Instructions per round of the cases of tests/instructions, in the release profile, counted by callgrind.
# A section is one set of instruction sets, as the program sees them there: figures of different sets do not compare.
# Made by: VMSGATE_UPDATE_INSTRUCTIONS=1 cargo test -p vmsgate-tests --test instructions -- --ignored
";

/// By case.
type Figures = BTreeMap<String, u64>;

#[test]
#[ignore = "builds the release profile, which takes minutes: cargo test -p vmsgate-tests --test instructions -- --ignored"]
fn the_hot_functions_cost_as_many_instructions_as_they_did() {
    if !require::has(&["valgrind"]) {
        return;
    }
    let program = build();
    let cases = capture(Command::new(&program).arg("list")).unwrap();
    let figures: Figures = cases.lines().map(|case| (case.to_owned(), count(&program, case))).collect();
    let processor = simulated(&program, "none", &["processor"]).0.trim().to_owned();

    let text = fs::read_to_string(STORED).unwrap_or_default();
    let mut all: BTreeMap<String, Figures> = toml::from_str(&text).unwrap();
    let stored = all.insert(processor.clone(), figures.clone());
    let new = format!("{HEADER}\n{}", toml::to_string(&all).unwrap());
    println!("{new}");
    if env::var(UPDATE).as_deref() == Ok("1") {
        fs::write(STORED, new).unwrap();
        return;
    }
    let Some(stored) = stored else {
        // Another machine's figures say nothing here; one day somebody stores this kind's.
        eprintln!("NOT COMPARED: no figures for `{processor}` in {STORED}; {UPDATE}=1 stores them");
        return;
    };
    let moved = moved(&stored, &figures);
    assert!(moved.is_empty(), "{}\nif that is meant, {UPDATE}=1 stores the new figures", moved.join("\n"));
}

#[test]
fn a_figure_that_moved_by_more_than_the_margin_is_told_and_so_is_one_that_came_or_went() {
    let figures = |figures: &[(&str, u64)]| -> Figures {
        figures.iter().map(|(case, figure)| ((*case).to_owned(), *figure)).collect()
    };
    let stored = figures(&[("seal", 1000), ("open", 1000)]);
    assert_eq!(moved(&stored, &figures(&[("seal", 1249), ("open", 751)])), [""; 0]);
    assert_eq!(moved(&stored, &figures(&[("seal", 1251), ("open", 749)])).len(), 2);
    assert_eq!(moved(&stored, &figures(&[("seal", 1000)])).len(), 1);
    assert_eq!(moved(&figures(&[]), &figures(&[("seal", 1000)])).len(), 1);
}

/// What is wrong with `figures`, one sentence each.
fn moved(stored: &Figures, figures: &Figures) -> Vec<String> {
    let cases: BTreeMap<_, _> = stored.iter().chain(figures).collect();
    let judge = |case: &String| match (stored.get(case), figures.get(case)) {
        (Some(&old), Some(&new)) => {
            let share = new as f64 / old as f64 - 1.0;
            (share.abs() > MARGIN)
                .then(|| format!("{case}: {new} instructions, {:+.0} % of the {old} before", share * 100.0))
        }
        (Some(_), None) => Some(format!("{case}: stored, but no case any more")),
        (None, _) => Some(format!("{case}: no figure is stored")),
    };
    cases.keys().copied().filter_map(judge).collect()
}

fn count(program: &Path, case: &str) -> u64 {
    let (_, report) = simulated(program, "callgrind", &[case, &ROUNDS.to_string()]);
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count);
    let collected: u64 =
        collected.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{case}: {report}"));
    assert!(collected > 0, "{case}: nothing was counted");
    collected / ROUNDS
}

/// Runs the program under valgrind: what it printed, and what valgrind said.
fn simulated(program: &Path, tool: &str, arguments: &[&str]) -> (String, String) {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg(format!("--tool={tool}"));
    if tool == "callgrind" {
        valgrind.args(["--collect-atstart=no", "--toggle-collect=*measured*"]);
        valgrind.arg("--callgrind-out-file=/dev/null");
    }
    let output = valgrind.arg(program).args(arguments).output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {report}");
    (String::from_utf8(output.stdout).unwrap(), report)
}

/// Builds the program in the release profile, beside the tests' own target folder.
fn build() -> PathBuf {
    let this = env::current_exe().unwrap();
    let target = this.ancestors().nth(3).unwrap();
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "vmsgate-instructions",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(checkout())
        .status()
        .unwrap();
    assert!(status.success(), "vmsgate-instructions was not built");
    target.join("release/vmsgate-instructions")
}
