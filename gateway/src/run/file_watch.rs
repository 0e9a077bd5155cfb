//! Notices that a file was replaced or rewritten, also through a symbolic link, as Kubernetes mounts its files.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    seen: Option<Mark>,
}

/// What changes when a file's contents do.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    modified: Option<SystemTime>,
    length: u64,
}

impl FileWatch {
    pub fn new(path: PathBuf) -> FileWatch {
        let seen = mark(&path);
        FileWatch { path, seen }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is another than at the last call. A file that is missing for a moment, as while an editor
    /// replaces it, is no change.
    pub fn has_changed(&mut self) -> bool {
        let now = mark(&self.path);
        let changed = now.is_some() && now != self.seen;
        if changed {
            self.seen = now;
        }
        changed
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Mark { modified: metadata.modified().ok(), length: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_file_is_noticed_once_and_a_missing_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::new(path.clone());
        assert!(!watch.has_changed());
        std::fs::write(&path, "ab").unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed());
        std::fs::write(&path, "ab").unwrap();
        watch.has_changed();
        assert!(!watch.has_changed());
    }
}
