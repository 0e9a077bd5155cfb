//! `docs/cli/` has what every program says of each of its commands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fmt::Write, fs};

use vmsgate_tests::{binaries, checkout};

const UPDATE: &str = "VMSGATE_UPDATE_DOCS=1 cargo test --workspace --test cli_reference";

#[test]
fn the_reference_of_each_program_is_its_own_help() {
    for program in binaries::PROGRAMS {
        let path = checkout().join(format!("docs/cli/{program}.md"));
        let current = reference(program);
        if env::var_os("VMSGATE_UPDATE_DOCS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &current).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == current, "{} is not current: {UPDATE}", path.display());
    }
}

fn reference(program: &str) -> String {
    let mut text = format!("# {program}\n\n<!-- Made from its --help: {UPDATE} -->\n");
    let commands = binaries::commands(program, "").unwrap();
    for command in [String::new()].into_iter().chain(commands) {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let help = binaries::help(program, &words).unwrap();
        if !command.is_empty() {
            write!(text, "\n## {program} {command}\n").unwrap();
        }
        let lines: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
        write!(text, "\n```text\n{}\n```\n", lines.join("\n")).unwrap();
    }
    text
}
