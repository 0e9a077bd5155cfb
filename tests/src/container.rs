//! The gateway's image, run by podman with nothing but what the documentation allows it.
//!
//! The image is built once (`deploy/container/build`, which `.ci/run` does) and named by [`IMAGE`].

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use crate::{netns::Netns, process::capture};

/// The environment variable that names the image.
pub const IMAGE: &str = "VMSGATE_TEST_IMAGE";

/// What runs it.
pub const PROGRAMS: [&str; 2] = ["podman", "runc"];

/// What the current machine lacks, if anything.
#[must_use]
pub fn lack() -> Option<String> {
    env::var_os(IMAGE).is_none().then(|| format!("{IMAGE} names no image (deploy/container/build makes one)"))
}

/// The image that is tested.
///
/// # Errors
/// When none is named.
pub fn image() -> Result<String> {
    env::var(IMAGE).with_context(|| format!("{IMAGE} is not set"))
}

/// A container of the image. Dropping it removes it with all that it left.
#[derive(Debug)]
pub struct Container {
    name: String,
}

impl Container {
    /// A container yet to be run, with a name that no other has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { name: format!("vmsgate-t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// `podman run` of the image: its root read-only, no right, no way to gain one, and `options`.
    ///
    /// # Errors
    /// When no image is named.
    pub fn run(&self, network: Option<&Netns>, options: &[String]) -> Result<Command> {
        let mut podman = podman();
        let network =
            network.map_or_else(|| "none".to_owned(), |host| format!("ns:/run/netns/{}", host.name()));
        podman
            .args(["run", "--name", &self.name, "--network", &network])
            .args([
                "--read-only",
                "--read-only-tmpfs=false",
                "--cap-drop=all",
                "--security-opt=no-new-privileges",
            ])
            // Root of a machine that is itself a container may not raise them to podman's own.
            .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"])
            .args(options)
            .arg(image()?);
        Ok(podman)
    }

    /// `podman WORDS NAME MORE`.
    #[must_use]
    pub fn podman(&self, words: &[&str], more: &[&str]) -> Command {
        let mut command = podman();
        command.args(words).arg(&self.name).args(more);
        command
    }

    /// What the kernel says of the container's first process: a path below that process's folder in /proc.
    ///
    /// # Errors
    /// When it does not run.
    pub fn proc(&self, path: &str) -> Result<PathBuf> {
        let id = capture(&mut self.podman(&["inspect", "--format", "{{.State.Pid}}"], &[]))?;
        Ok(Path::new("/proc").join(id.trim()).join(path))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = self.podman(&["rm", "--force", "--volumes", "--time=0"], &[]);
        let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// crun, podman's own choice, wants a tidier cgroup tree than a machine of tests may have.
fn podman() -> Command {
    let mut podman = Command::new("podman");
    podman.args(["--runtime=runc", "--cgroup-manager=cgroupfs"]).env("DISABLE_HC_SYSTEMD", "true");
    podman
}
