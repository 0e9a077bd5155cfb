//! What an administrator has to be asked for, as a command that works.

use std::env;
use std::path::Path;

use vmsgate_shim::hosts::HostsFile;

/// A change that this person may not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elevation<'a> {
    /// The block of a running shim. Only the one who started it finds it, so the block goes to the administrator.
    PipedInto(&'a str),
    /// A block from standard input.
    Apply,
    /// The block of this profile taken out.
    Remove(&'a str),
    /// Nothing that another could do.
    None,
}

impl Elevation<'_> {
    /// What to do where a change was denied.
    pub fn advice(self, file: &HostsFile) -> String {
        if is_administrator() {
            return "not even an administrator may: is it on a read-only file system?".to_owned();
        }
        match self {
            Self::None => "ask an administrator".to_owned(),
            _ if cfg!(windows) => format!("as an administrator: {}", self.command(file)),
            _ => self.command(file),
        }
    }

    /// The command that does it.
    pub fn command(self, file: &HostsFile) -> String {
        let program = program();
        let file = match file == &HostsFile::of_this_machine() {
            true => String::new(),
            false => format!(" --file {}", quoted(&file.path().to_string_lossy())),
        };
        // Windows' administrators are mostly the same person, whose shims are then found.
        let sudo = if cfg!(windows) { "" } else { "sudo " };
        match self {
            Self::PipedInto(profile) if cfg!(windows) => {
                format!("{program} hosts --apply{file} {}", quoted(profile))
            }
            Self::PipedInto(profile) => {
                let profile = quoted(profile);
                format!("{program} hosts --print {profile} | sudo {program} hosts --apply{file} -")
            }
            Self::Apply | Self::None => format!("{sudo}{program} hosts --apply{file} -"),
            Self::Remove(profile) => format!("{sudo}{program} hosts --remove{file} {}", quoted(profile)),
        }
    }
}

/// Who called this program with sudo.
pub fn of_somebody_else() -> Option<String> {
    let person = env::var("SUDO_USER").ok().filter(|person| person != "root");
    person.filter(|person| is_administrator() && quoted(person) == *person)
}

#[cfg(unix)]
fn is_administrator() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whoever is one may change the file, unless it is read-only for other reasons.
#[cfg(windows)]
fn is_administrator() -> bool {
    false
}

/// With its folder: sudo has a path of its own.
fn program() -> String {
    let program = env::current_exe().ok();
    quoted(&program.as_deref().unwrap_or(Path::new("vmsgate-shim")).to_string_lossy())
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@+:\\".contains(c);
    let safe =
        if cfg!(windows) { text.chars().all(plain) } else { text.chars().all(|c| plain(c) && c != '\\') };
    match (safe && !text.is_empty(), cfg!(windows)) {
        (true, _) => text.to_owned(),
        (false, true) => format!("\"{text}\""),
        (false, false) => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_a_shell() {
        let file = HostsFile::at("/tmp/my hosts".into());
        let command = Elevation::Remove("anna's laptop").command(&file);
        assert!(command.starts_with("sudo "), "{command}");
        assert!(command.ends_with(" hosts --remove --file '/tmp/my hosts' 'anna'\\''s laptop'"), "{command}");
        let command = Elevation::PipedInto("alice").command(&HostsFile::of_this_machine());
        assert!(command.contains(" hosts --print alice | sudo "), "{command}");
        assert!(command.ends_with(" hosts --apply -"), "{command}");
    }
}
