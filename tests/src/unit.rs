//! The systemd unit, put in force without systemd: what it hides, what it makes read-only, and which system calls it leaves.
//!
//! A machine of tests seldom runs systemd, and a unit that forbids what the gateway needs would show on the day of the
//! installation. `tests/under_unit.py` reads the unit itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{checkout, process::InTime};

/// How many filters of system calls it makes of the unit: families of sockets, flags, calls.
pub const FILTERS: u32 = 3;

/// What it needs installed.
pub const PROGRAMS: [&str; 4] = ["/usr/bin/python3", "systemd-analyze", "unshare", "mount"];

/// What the current machine lacks besides, if anything.
#[must_use]
pub fn lack() -> Option<String> {
    let mut python = Command::new("/usr/bin/python3");
    let there =
        python.args(["-c", "import seccomp"]).output_in_time().is_ok_and(|output| output.status.success());
    (!there).then(|| "not installed: python3-seccomp (.ci/run lists the packages)".to_owned())
}

/// A file below `deploy/systemd`.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    checkout().join("deploy/systemd").join(name)
}

/// `command`, which starts `program` as its user, under the unit: its view before the user is changed, its calls after.
///
/// # Errors
/// When the command does not start the program.
pub fn confine(command: &Command, program: &Path, units: &[&str], state: &Path) -> Result<Command> {
    let script = checkout().join("tests/under_unit.py");
    let files: Vec<_> = units.iter().map(|name| file(name).display().to_string()).collect();
    let files = files.join(",");
    let arguments: Vec<_> = command.get_args().collect();
    let at = arguments
        .iter()
        .position(|argument| Path::new(argument) == program)
        .with_context(|| format!("{command:?} does not start {}", program.display()))?;
    let (before, after) = arguments.split_at(at);
    let mut confined = Command::new("unshare");
    confined
        .args(["--mount", "/usr/bin/python3"])
        .arg(&script)
        .args(["view", &files])
        .arg(state)
        .arg(command.get_program())
        .args(before)
        .arg("/usr/bin/python3")
        .arg(&script)
        .args(["calls", &files])
        .args(after);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => confined.env(name, value),
            None => confined.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        confined.current_dir(folder);
    }
    Ok(confined)
}
