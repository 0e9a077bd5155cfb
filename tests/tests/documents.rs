//! Every program prints completions that each shell accepts, and manual pages that groff sets without a complaint.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use vmsgate_tests::{
    binaries::{self, PROGRAMS},
    process::capture,
    require::has,
};

#[test]
fn each_shell_accepts_the_completions_and_finds_every_command_in_them() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        if !has(&[shell]) {
            continue;
        }
        for program in PROGRAMS {
            let script = run(program, &["completions", shell]);
            for command in commands(program) {
                assert!(script.contains(&command), "{program}, {shell}: no `{command}`");
            }
            let file = folder.path().join(format!("{program}.{shell}"));
            fs::write(&file, script).unwrap();
            let complaints = complaints(Command::new(shell).arg(check).arg(&file));
            assert_eq!(complaints, "", "{program}, {shell}");
        }
    }
    // PowerShell is in no Debian: its script is only looked at.
    for program in PROGRAMS {
        let script = run(program, &["completions", "powershell"]);
        for command in commands(program) {
            assert!(script.contains(&format!("[CompletionResult]::new('{command}'")), "{program}: {script}");
        }
    }
}

#[test]
fn bash_completes_commands_and_their_options() {
    for program in PROGRAMS {
        let words = completed_by_bash(program, &["man", "--di"]);
        assert_eq!(words, BTreeSet::from(["--dir".to_owned()]), "{program}");
        let mut wanted = commands(program);
        wanted.insert("help".to_owned());
        let offered = completed_by_bash(program, &[""]);
        assert!(offered.is_superset(&wanted), "{program}: {offered:?}, and there are {wanted:?}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command_and_groff_complains_of_none() {
    if !has(&["groff"]) {
        return;
    }
    for program in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man1");
        run(program, &["man", "--dir", dir.to_str().unwrap()]);
        let own = shown(&dir.join(format!("{program}.1")));
        for command in commands(program) {
            let name = format!("{program}-{command}");
            assert!(own.contains(&format!("{name}(1)")), "{own}");
            let page = shown(&dir.join(format!("{name}.1")));
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"] {
                assert!(page.lines().any(|line| line == section), "no {section} in\n{page}");
            }
            assert!(page.contains(&format!("{program} {command}")), "{page}");
        }
        for page in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            let complaints = complaints(groff(&page).args(["-Tutf8", "-ww", "-z"]));
            assert_eq!(complaints, "", "{}", page.display());
        }
    }
}

/// What bash offers for the last of the words after the program's name.
fn completed_by_bash(program: &str, words: &[&str]) -> BTreeSet<String> {
    let script = run(program, &["completions", "bash"]);
    let ask = format!(
        "{script}
        COMP_WORDS=({program} \"$@\"); COMP_CWORD=$#
        function=$(complete -p {program} | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
        $function {program} \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
        printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let offered = capture(Command::new("bash").args(["--norc", "-c", &ask, "bash"]).args(words)).unwrap();
    offered.lines().map(str::to_owned).collect()
}

/// The commands of a program, from its own help.
fn commands(program: &str) -> BTreeSet<String> {
    binaries::listed(program, "").unwrap()
}

/// A page as a terminal shows it, without the marks of bold and underlined text.
fn shown(page: &Path) -> String {
    capture(groff(page).args(["-Tascii", "-P-cbou", "-rLL=200n"])).unwrap()
}

fn groff(page: &Path) -> Command {
    let mut command = Command::new("groff");
    command.args(["-man", "-Kutf-8"]).arg(page);
    command
}

fn run(program: &str, arguments: &[&str]) -> String {
    capture(Command::new(binaries::built().unwrap().join(program)).args(arguments)).unwrap()
}

fn complaints(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}
