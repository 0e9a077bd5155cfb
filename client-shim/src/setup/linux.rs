//! `~/.local/bin`, a systemd unit of the user for each profile, and an entry in the desktop's menu that starts it.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SetupError;

/// Where things go.
#[derive(Debug)]
pub struct Places {
    pub program: PathBuf,
    pub notes: PathBuf,
    units: PathBuf,
    menu: PathBuf,
}

const SERVICE: &str = "service";
const DESKTOP: &str = "desktop";

impl Places {
    pub fn find() -> Result<Self, SetupError> {
        let home = folder("HOME").ok_or(SetupError::NoPlace("HOME"))?;
        let config = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let data = folder("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
        Ok(Self {
            program: home.join(".local/bin/vmsgate-shim"),
            notes: data.join("vmsgate-shim/installed.json"),
            units: config.join("systemd/user"),
            menu: data.join("applications"),
        })
    }

    pub fn entries(&self, profile: &str, at_log_on: bool) -> Vec<PathBuf> {
        let unit = unit_of(profile);
        let mut entries = vec![self.units.join(&unit), self.menu.join(&unit).with_extension(DESKTOP)];
        // What `systemctl --user enable` would make.
        entries.extend(at_log_on.then(|| self.units.join("default.target.wants").join(&unit)));
        entries
    }

    pub fn make(&self, entry: &Path, profile: &str, file: &Path) -> io::Result<()> {
        if entry.extension().is_some_and(|ending| ending == DESKTOP) {
            return fs::write(entry, self.menu_entry(profile));
        }
        let unit = self.units.join(unit_of(profile));
        if entry == unit {
            return fs::write(entry, self.unit(profile, file));
        }
        match fs::remove_file(entry) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(unit, entry),
        }
    }

    /// Tells systemd, where it runs, and answers how to start the profile.
    pub fn changed(&self, profile: &str) -> String {
        let mut reload = Command::new("systemctl");
        reload.args(["--user", "daemon-reload"]).stdin(Stdio::null()).stdout(Stdio::null());
        let _ = reload.stderr(Stdio::null()).status();
        format!("systemctl --user start '{}'", unit_of(profile))
    }

    fn unit(&self, profile: &str, file: &Path) -> String {
        let (program, file) = (for_systemd(&self.program), for_systemd(file));
        let name = profile.replace('%', "%%");
        // Exit status 1 and 2 ask for a person: another attempt would end the same way.
        format!(
            "[Unit]\nDescription=Vmsgate with the profile {name}\n\n\
             [Service]\nExecStart={program} up --log-format text {file}\nRestart=on-failure\nRestartSec=10\n\
             RestartPreventExitStatus=1 2\n\n\
             [Install]\nWantedBy=default.target\n"
        )
    }

    fn menu_entry(&self, profile: &str) -> String {
        let name = profile.replace('\\', "\\\\");
        let unit = for_desktop(&unit_of(profile));
        format!(
            "[Desktop Entry]\nType=Application\nName=Vmsgate {name}\nComment=Reach the video system\n\
             Exec=systemctl --user start {unit}\nIcon=network-vpn\nCategories=Network;\nActions=stop;\n\n\
             [Desktop Action stop]\nName=Disconnect\nExec=systemctl --user stop {unit}\n"
        )
    }
}

/// The old one goes on under no name, if it runs.
pub fn replace_program(new: &Path, to: &Path) -> io::Result<()> {
    fs::rename(new, to)
}

/// Answers whether it was there.
pub fn remove_program(program: &Path) -> io::Result<bool> {
    match fs::remove_file(program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

/// The unit's name, with what systemd allows in one (systemd-escape(1)).
fn unit_of(profile: &str) -> String {
    let mut name = "vmsgate-shim-".to_owned();
    for byte in profile.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => name.push(char::from(byte)),
            other => name += &format!("\\x{other:02x}"),
        }
    }
    name + "." + SERVICE
}

/// A path as a word of `ExecStart`, where `%` and `$` mean something (systemd.service(5)).
fn for_systemd(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%").replace('$', "$$"))
}

/// A word of `Exec`: quoted for its own rules, then for those of a value in the file (Desktop Entry Specification).
fn for_desktop(word: &str) -> String {
    let quoted = word.replace('\\', "\\\\").replace('"', "\\\"").replace('`', "\\`").replace('$', "\\$");
    format!("\"{}\"", quoted.replace('\\', "\\\\").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            program: "/home/anna b/.local/bin/vmsgate-shim".into(),
            notes: "/home/anna b/notes".into(),
            units: "/home/anna b/units".into(),
            menu: "/home/anna b/menu".into(),
        }
    }

    #[test]
    fn names_and_paths_are_quoted_as_each_file_wants_it() {
        let unit = places().unit("100%", Path::new("/home/anna b/100% $x \"y\".conf"));
        let start = "ExecStart=\"/home/anna b/.local/bin/vmsgate-shim\" up --log-format text \
                     \"/home/anna b/100%% $$x \\\"y\\\".conf\"\n";
        assert!(unit.contains(start), "{unit}");
        assert!(unit.contains("Description=Vmsgate with the profile 100%%\n"), "{unit}");

        assert_eq!(unit_of("anna-laptop.2"), "vmsgate-shim-anna-laptop.2.service");
        assert_eq!(unit_of("a b/\u{e9}"), "vmsgate-shim-a\\x20b\\x2f\\xc3\\xa9.service");
        let entry = places().menu_entry("a b");
        let exec = "Exec=systemctl --user start \"vmsgate-shim-a\\\\\\\\x20b.service\"\n";
        assert!(entry.contains(exec), "{entry}");
    }

    #[test]
    fn what_starts_it_at_log_on_is_made_only_where_it_is_wanted() {
        let (with, without) = (places().entries("anna", true), places().entries("anna", false));
        assert_eq!(without, with[..2]);
        assert_eq!(with[2], Path::new("/home/anna b/units/default.target.wants/vmsgate-shim-anna.service"));
        assert_eq!(with[1], Path::new("/home/anna b/menu/vmsgate-shim-anna.desktop"));
    }
}
