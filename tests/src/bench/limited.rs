//! A limit of memory that the kernel holds a running process to, as a container's would be.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

/// Where the memory controller of cgroups is, old and new, and what the file with the limit is called there.
const HIERARCHIES: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// A control group. It is taken away when this is dropped, which must be after the process in it has ended.
#[derive(Debug)]
pub struct Limited {
    folder: PathBuf,
}

impl Limited {
    /// Puts the process `id`, from now on, into a group of its own that may use so many `bytes`. The kernel kills what needs
    /// more. What the process holds already stays with the group that it comes from.
    ///
    /// # Errors
    /// When there is no memory controller, or the group cannot be made.
    pub fn to(bytes: u64, id: u32) -> Result<Self> {
        let known = |(folder, _): &&(&str, &str)| Path::new(folder).join("cgroup.procs").exists();
        let (folder, limit) = HIERARCHIES.iter().find(known).context("no memory controller of cgroups")?;
        let group = Self { folder: Path::new(folder).join(format!("vmsgate-test-{}", process::id())) };
        let all = || -> io::Result<()> {
            fs::create_dir(&group.folder)?;
            fs::write(group.folder.join(limit), bytes.to_string())?;
            fs::write(group.folder.join("cgroup.procs"), id.to_string())
        };
        all().with_context(|| format!("cannot limit memory in {}", group.folder.display()))?;
        Ok(group)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
