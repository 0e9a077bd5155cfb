//! Whether a test that needs namespaces and peers can run here: it runs, it is skipped aloud, or it fails.
//!
//! Without `VMSGATE_REQUIRE_NETNS=1` a machine that lacks a right or a program skips such a test with one line on
//! standard error (written past the test harness, which hides the output of passing tests). With it, as in CI, the
//! same lack is a failure, so that nothing is ever skipped unnoticed.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    sync::OnceLock,
    thread,
};

use crate::{
    container,
    netns::{self, Netns},
    unit, wine,
};

/// The environment variable that turns skipping into failing.
pub const REQUIRE: &str = "VMSGATE_REQUIRE_NETNS";

/// Whether the current test can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When something is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn can_run(programs: &[&str]) -> bool {
    holds(namespaces().clone().or_else(|| missing(programs)))
}

/// Whether the current test, which needs the shim for Windows and Wine too, can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When something is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn can_run_windows(programs: &[&str]) -> bool {
    holds(namespaces().clone().or_else(|| missing(programs)).or_else(wine::lack))
}

/// Whether the current test, which needs the gateway's image too, can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When something is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn can_run_container(programs: &[&str]) -> bool {
    holds(namespaces().clone().or_else(|| missing(programs)).or_else(container::lack))
}

/// Whether the current test, which puts the systemd unit in force, can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When something is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn can_run_confined(programs: &[&str]) -> bool {
    let all = [&unit::PROGRAMS[..], programs].concat();
    holds(namespaces().clone().or_else(|| missing(&all)).or_else(unit::lack))
}

/// Whether the current test, which needs programs but no rights, can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When a program is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn has(programs: &[&str]) -> bool {
    holds(missing(programs))
}

/// Whether the current test, which needs a file that no package installs, can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When it is missing although [`REQUIRE`] is `1`.
#[must_use]
pub fn has_file(path: &std::path::Path) -> bool {
    holds((!path.exists()).then(|| format!("{} is missing (.ci/run puts it there)", path.display())))
}

fn holds(lack: Option<String>) -> bool {
    let Some(lack) = lack else { return true };
    let current = thread::current();
    let test = current.name().unwrap_or("a test");
    assert!(env::var(REQUIRE).as_deref() != Ok("1"), "{test}: {lack}; {REQUIRE}=1 forbids skipping");
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {lack}");
    false
}

fn namespaces() -> &'static Option<String> {
    static LACK: OnceLock<Option<String>> = OnceLock::new();
    LACK.get_or_init(|| {
        netns::remove_leftovers();
        let problem = Netns::create("probe").err()?;
        Some(format!("cannot make network namespaces here, run as root ({problem:#})"))
    })
}

fn missing(programs: &[&str]) -> Option<String> {
    let absent: Vec<_> = programs.iter().filter(|program| find(program).is_none()).copied().collect();
    (!absent.is_empty()).then(|| format!("not installed: {} (.ci/run lists the packages)", absent.join(", ")))
}

/// Where a program is installed.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}
