//! `VMSGATE_FUZZ_TARGET=NAME vmsgate-fuzz [CORPUS…] [-max_total_time=60 …]`: one target under libFuzzer.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("VMSGATE_FUZZ_TARGET").unwrap_or_default();
    let known = vmsgate_fuzz::TARGETS.map(|(name, _)| name).join(", ");
    match vmsgate_fuzz::target(&name) {
        Some((_, run)) => run,
        None => panic!("VMSGATE_FUZZ_TARGET is `{name}`; it must be one of {known}"),
    }
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
