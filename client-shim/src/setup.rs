//! What `install` makes for one user, and what `uninstall` removes again: that and nothing else.
//!
//! Everything lies in the user's own folders. What is made is noted first, in a file of its own, and what was there
//! before is neither touched nor noted; so an install that dies anywhere is finished, or undone, by the next.

#[cfg(target_os = "linux")]
#[path = "setup/linux.rs"]
mod platform;
#[cfg(windows)]
#[path = "setup/windows.rs"]
mod platform;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use platform::Places;

/// Far more than the notes of a hundred profiles.
const MAX_NOTES_BYTES: u64 = 1 << 20;
/// Of the notes' form.
const SCHEMA_VERSION: u32 = 1;

/// Why something was not set up, or not removed.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("{0} is not set")]
    NoPlace(&'static str),
    #[error("cannot write {}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} exists already, and `install` did not make it", .0.display())]
    NotOurs(PathBuf),
    #[error("{} is not what `install` notes", .0.display())]
    NotNotes(PathBuf),
    #[error("`install` has set up no profile {0}")]
    NotInstalled(String),
    #[error("`install` has set up nothing")]
    NothingInstalled,
}

/// What was made for a profile.
#[derive(Debug, Serialize)]
pub struct Installed {
    pub profile: String,
    pub program: PathBuf,
    pub entries: Vec<PathBuf>,
    /// What starts it now.
    #[serde(skip)]
    pub start: String,
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Removed {
    pub removed: Vec<PathBuf>,
}

/// What this user's installs have made.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    schema_version: u32,
    program: Option<PathBuf>,
    /// Entries by profile.
    profiles: BTreeMap<String, Vec<PathBuf>>,
    /// Folders that were not there before, outer ones first.
    folders: Vec<PathBuf>,
}

/// Puts the program where it can stay, and makes the entries for a profile, whose file stays where it is.
pub fn install(profile: &str, file: &Path, at_log_on: bool) -> Result<Installed, SetupError> {
    let places = Places::find()?;
    let mut notes = Notes::read(&places)?.unwrap_or_default();
    let entries = places.entries(profile, at_log_on);
    let before = notes.profiles.get(profile).cloned().unwrap_or_default();
    for entry in &entries {
        if !before.contains(entry) && entry.symlink_metadata().is_ok() {
            return Err(SetupError::NotOurs(entry.clone()));
        }
    }
    let place_program = notes.wants_program(&places)?;
    let noted = [&before[..], &entries[..]].concat();
    notes.profiles.insert(profile.to_owned(), noted);
    for path in entries.iter().chain([&places.program, &places.notes]) {
        notes.note_folders_of(path);
    }
    notes.write(&places)?;

    if let Some(from) = place_program {
        put_program(&from, &places.program).map_err(|source| unwritable(&places.program, source))?;
    }
    for entry in &entries {
        make_folder_of(entry)?;
        places.make(entry, profile, file).map_err(|source| unwritable(entry, source))?;
    }
    for left in before.iter().filter(|path| !entries.contains(path)) {
        remove(left)?;
    }
    notes.profiles.insert(profile.to_owned(), entries.clone());
    notes.write(&places)?;
    let start = places.changed(profile);
    Ok(Installed { profile: profile.to_owned(), program: places.program, entries, start })
}

/// Removes what was made for a profile; with none, or with the last, everything that was made.
pub fn uninstall(profile: Option<&str>) -> Result<Removed, SetupError> {
    let places = Places::find()?;
    let mut notes = Notes::read(&places)?.ok_or(SetupError::NothingInstalled)?;
    let names: Vec<String> = match profile {
        Some(name) if notes.profiles.contains_key(name) => vec![name.to_owned()],
        Some(name) => return Err(SetupError::NotInstalled(name.to_owned())),
        None => notes.profiles.keys().cloned().collect(),
    };
    let mut removed = Vec::new();
    for name in names {
        for entry in notes.profiles.remove(&name).unwrap_or_default() {
            removed.extend(remove(&entry)?.then_some(entry));
        }
        places.changed(&name);
    }
    if !notes.profiles.is_empty() {
        notes.write(&places)?;
        return Ok(Removed { removed });
    }
    if let Some(program) = notes.program {
        let gone = platform::remove_program(&program).map_err(|source| unwritable(&program, source))?;
        removed.extend(gone.then_some(program));
    }
    removed.extend(remove(&places.notes)?.then(|| places.notes.clone()));
    for folder in notes.folders.iter().rev() {
        // Somebody may have put something into it.
        if fs::remove_dir(folder).is_ok() {
            removed.push(folder.clone());
        }
    }
    Ok(Removed { removed })
}

impl Notes {
    fn read(places: &Places) -> Result<Option<Self>, SetupError> {
        use io::Read as _;
        let path = &places.notes;
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| unwritable(path, source))?,
        };
        let mut text = Vec::new();
        file.take(MAX_NOTES_BYTES).read_to_end(&mut text).map_err(|source| unwritable(path, source))?;
        let notes: Option<Self> = serde_json::from_slice(&text).ok();
        notes
            .filter(|notes| notes.schema_version == SCHEMA_VERSION)
            .map(Some)
            .ok_or_else(|| SetupError::NotNotes(path.clone()))
    }

    fn write(&mut self, places: &Places) -> Result<(), SetupError> {
        self.schema_version = SCHEMA_VERSION;
        make_folder_of(&places.notes)?;
        let failed = |source| unwritable(&places.notes, source);
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        let temporary = places.notes.with_extension("new");
        fs::write(&temporary, text).map_err(failed)?;
        fs::rename(&temporary, &places.notes).map_err(failed)
    }

    /// The program to put into its place, if there is something to do. A program that somebody else put there stays.
    fn wants_program(&mut self, places: &Places) -> Result<Option<PathBuf>, SetupError> {
        let own = std::env::current_exe().map_err(|source| unwritable(&places.program, source))?;
        if same_file(&own, &places.program) {
            return Ok(None);
        }
        if self.program.is_none() && places.program.symlink_metadata().is_ok() {
            return Err(SetupError::NotOurs(places.program.clone()));
        }
        self.program = Some(places.program.clone());
        Ok(Some(own))
    }

    fn note_folders_of(&mut self, path: &Path) {
        let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            if !self.folders.iter().any(|noted| noted == folder) {
                self.folders.push(folder.to_owned());
            }
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whole or not at all; one that runs goes on.
fn put_program(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = to.with_extension("new");
    fs::copy(from, &new)?;
    platform::replace_program(&new, to)
}

fn make_folder_of(path: &Path) -> Result<(), SetupError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|source| unwritable(folder, source)),
        None => Ok(()),
    }
}

/// Answers whether it was there.
fn remove(path: &Path) -> Result<bool, SetupError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(unwritable(path, source)),
    }
}

fn unwritable(path: &Path, source: io::Error) -> SetupError {
    SetupError::Unwritable { path: path.to_owned(), source }
}
