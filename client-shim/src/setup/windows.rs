//! `%LOCALAPPDATA%\Programs\Vmsgate`, and shortcuts in the Start menu and its Startup folder.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vmsgate_windows::{Folder, Shortcut};

use super::SetupError;

/// Where things go.
#[derive(Debug)]
pub struct Places {
    pub program: PathBuf,
    pub notes: PathBuf,
    menu: PathBuf,
    startup: PathBuf,
}

impl Places {
    pub fn find() -> Result<Self, SetupError> {
        let find = |folder: Folder, name| folder.path().map_err(|_| SetupError::NoPlace(name));
        let local = find(Folder::LocalAppData, "the folder of local application data")?;
        Ok(Self {
            program: local.join("Programs").join("Vmsgate").join("vmsgate-shim.exe"),
            notes: local.join("Vmsgate").join("installed.json"),
            menu: find(Folder::StartMenu, "the folder of the Start menu")?,
            startup: find(Folder::Startup, "the Startup folder")?,
        })
    }

    pub fn entries(&self, profile: &str, at_log_on: bool) -> Vec<PathBuf> {
        let name = format!("Vmsgate {profile}.lnk");
        let mut entries = vec![self.menu.join(&name)];
        entries.extend(at_log_on.then(|| self.startup.join(&name)));
        entries
    }

    pub fn make(&self, entry: &Path, profile: &str, file: &Path) -> io::Result<()> {
        let shortcut = Shortcut {
            program: &self.program,
            // No path has a quotation mark in it.
            arguments: &format!("up \"{}\"", file.display()),
            folder: file.parent().unwrap_or(file),
            description: &format!("Reach the video system with the profile {profile}"),
            minimized: entry.starts_with(&self.startup),
        };
        shortcut.write(entry)
    }

    /// Answers how to start the profile.
    pub fn changed(&self, profile: &str) -> String {
        format!("open \"Vmsgate {profile}\" in the Start menu")
    }
}

/// Windows lets a running program be renamed, and neither replaced nor removed.
pub fn replace_program(new: &Path, to: &Path) -> io::Result<()> {
    put_aside(to)?;
    fs::rename(new, to)
}

/// Answers whether it was there.
pub fn remove_program(program: &Path) -> io::Result<bool> {
    put_aside(program)
}

/// Removes the program or, where it runs, leaves it to the clean-up of temporary files.
fn put_aside(program: &Path) -> io::Result<bool> {
    match fs::remove_file(program) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(_) => {
            let name = format!("vmsgate-shim-removed-{}.exe", std::process::id());
            fs::rename(program, env::temp_dir().join(name)).map(|()| true)
        }
    }
}
