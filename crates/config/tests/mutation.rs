//! Whatever a file holds, reading it ends in a configuration or in findings, never in a panic.

use std::path::Path;

use vmsgate_config::Config;

const ROUNDS: usize = 3000;

/// A repeatable sequence of numbers (SplitMix64); statistical quality is not needed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }
}

/// Fragments that mean something to the parser, and some that should not.
const FRAGMENTS: &[&str] = &[
    "\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "*",
    ":",
    "-",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "nan",
    "true",
    "1979-05-27",
    "\"\"",
    "\"*:*\"",
    "\"0-0\"",
    "\"65535-1\"",
    "\"::/0\"",
    "\"0.0.0.0/0\"",
    "\"::-::ffff\"",
    "\"99999999999d\"",
    "\"18446744073709551615GiB\"",
    "[server]",
    "[[gateway]]",
    "[role.x]",
    "[service.x]",
    "\u{202e}",
    "\u{0}",
    "é",
    "expose-anyway = [{ port = \"tcp/1-65535\", reason = \" \" }]",
    "allow = \"**********a:*\"",
];

#[test]
fn a_mutated_sample_never_panics_and_findings_point_into_the_file() {
    let seed = std::env::var("VMSGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    println!("VMSGATE_SEED={seed}");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/gateway.toml");
    let sample = std::fs::read_to_string(sample).unwrap();
    let mut numbers = Numbers(seed);
    let mut refused = 0;
    for round in 0..ROUNDS {
        let text = mutate(&sample, &mut numbers);
        match Config::from_str(&text, "gateway.toml") {
            Ok(config) => assert_eq!(config.version.len(), 16),
            Err(errors) => {
                refused += 1;
                assert!(errors.errors().next().is_some(), "round {round} was refused without an error");
                let lines = text.matches('\n').count() + 1;
                let outside =
                    errors.findings.iter().find(|one| one.line.is_some_and(|line| line == 0 || line > lines));
                assert_eq!(outside, None, "round {round}");
                assert!(!errors.to_string().contains(['\u{202e}', '\u{0}', '\u{1b}']), "round {round}");
            }
        }
    }
    assert!(refused > ROUNDS / 4, "only {refused} of {ROUNDS} mutations mattered: they are too tame");
}

/// Replaces, deletes, repeats or inserts up to four pieces.
fn mutate(sample: &str, numbers: &mut Numbers) -> String {
    let mut text: Vec<char> = sample.chars().collect();
    for _ in 0..=numbers.below(4) {
        let start = numbers.below(text.len());
        let end = (start + numbers.below(40)).min(text.len());
        let piece: Vec<char> = match numbers.below(4) {
            0 => Vec::new(),
            1 => text[start..end].repeat(2),
            2 => FRAGMENTS[numbers.below(FRAGMENTS.len())].chars().collect(),
            _ => char::from_u32(numbers.below(0x250) as u32).into_iter().collect(),
        };
        let end = if numbers.below(2) == 0 { start } else { end };
        text.splice(start..end, piece);
    }
    text.into_iter().collect()
}
