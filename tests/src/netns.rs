//! Network namespaces: the hosts of a test network.
//!
//! Every namespace is named `vmsgate-t<pid>-<n>-<label>`, so that test processes run side by side and the leftovers
//! of one that was killed are recognised by its dead process id and removed by the next. A namespace is deleted
//! when its [`Netns`] is dropped; veth pairs die with it.
//!
//! A thread can step into a namespace for a moment ([`Netns::run`]). A socket made there keeps belonging to it, so
//! servers, relays and crafted clients are plain objects of the test process and need no helper programs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::process::InTime;

const PREFIX: &str = "vmsgate-t";
const DIR: &str = "/run/netns";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One host of the test network.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace with its loopback up. IPv6 is on, and addresses are usable at once (no duplicate detection).
    ///
    /// # Errors
    /// When the process may not make namespaces; see [`crate::require::can_run`].
    pub fn create(label: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{}-{label}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "0")?;
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name `ip netns` knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` commands inside, one a line, without the word `ip`.
    ///
    /// # Errors
    /// The first command that fails, with what `ip` said.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let output = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .output_given(commands)
            .context("Failed to run `ip` (package iproute2)")?;
        if !output.status.success() {
            bail!("ip -n {}: {}\nin: {commands}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Sets a network sysctl of this namespace alone, e.g. `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When the key does not exist here or is not per namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| fs::write(&path, value))?.with_context(|| format!("Failed to set {key} in {}", self.name))
    }

    /// Runs `work` on a thread that is inside the namespace. Sockets it makes stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        thread::scope(|scope| {
            scope
                .spawn(move || -> Result<T> {
                    let file =
                        File::open(&path).with_context(|| format!("Failed to open {}", path.display()))?;
                    setns(file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("Failed to enter {}", path.display()))?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow::anyhow!("a thread inside {} panicked", self.name))?
        })
    }

    /// A command that will run inside. `nsenter` replaces itself, so the child's id is the program's own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    fn path(&self) -> PathBuf {
        Path::new(DIR).join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Joins two namespaces by a cable: interface `a_end` in `a`, `b_end` in `b`, both up.
///
/// # Errors
/// When `ip` refuses, e.g. because an interface of that name exists.
pub fn cable(a: &Netns, a_end: &str, b: &Netns, b_end: &str) -> Result<()> {
    run(Command::new("ip").args([
        "link",
        "add",
        a_end,
        "netns",
        a.name(),
        "type",
        "veth",
        "peer",
        "name",
        b_end,
        "netns",
        b.name(),
    ]))?;
    a.ip(&format!("link set {a_end} up"))?;
    b.ip(&format!("link set {b_end} up"))
}

/// Removes namespaces, and processes in them, that a test process left behind when it was killed.
pub fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(DIR) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !pid.is_empty() && !Path::new("/proc").join(pid).exists()) {
            delete(&name);
        }
    }
}

/// Ends what still runs in the namespace (it holds nothing but what tests started) and unlinks it.
fn delete(name: &str) {
    if let Ok(pids) = Command::new("ip").args(["netns", "pids", name]).output() {
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            if let Ok(pid) = pid.parse() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("Failed to start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
