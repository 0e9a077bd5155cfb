//! The product's programs, built from this checkout with the profile the tests were built with.
//!
//! `cargo test` builds a package's programs only for that package's own integration tests. So the first test of a process
//! that needs them runs `cargo build --workspace --bins` into the same target folder, behind a file lock; when nothing
//! changed that costs a fraction of a second. `VMSGATE_TEST_BINARIES=FOLDER` tests programs built elsewhere instead.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};

use crate::{checkout, process::capture};

/// The programs of the product.
pub const PROGRAMS: [&str; 3] = ["vmsgate", "vmsgate-keys", "vmsgate-shim"];

/// Puts the product's programs into `folder`, where every user can run them; a checkout may be private.
///
/// # Errors
/// When they cannot be built.
pub fn install(folder: &Path) -> Result<()> {
    let built = built()?;
    for program in PROGRAMS {
        let (from, to) = (built.join(program), folder.join(program));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).with_context(|| format!("Failed to copy {}", from.display()))?;
        }
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Where the product's programs were built, in this process at the latest now.
///
/// # Errors
/// When they cannot be built.
pub fn built() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(folder) => Ok(folder),
        Err(error) => anyhow::bail!("{error}"),
    }
}

/// A folder for what is made once and kept between runs, e.g. the clip.
///
/// # Errors
/// When it cannot be made.
pub fn cache() -> Result<PathBuf> {
    let folder = profile_folder()?.join("vmsgate-tests");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn build() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("VMSGATE_TEST_BINARIES") {
        return Ok(folder.into());
    }
    let folder = profile_folder()?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let lock = File::create(cache()?.join("build.lock"))?;
    lock.lock().context("Failed to wait for another build")?;
    let target = folder.parent().context("the target folder has no parent")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // What cargo tells a test of its package is news to some build scripts (ring's), and all that needs them would be built
    // again: for this command, and for the next one that a person gives.
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_the_package(name)) {
        cargo.env_remove(name);
    }
    let status = cargo
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        // With a test among them, dependencies have the features that `cargo test` has built them with.
        .args(["--test", "architecture"])
        .current_dir(checkout())
        .status()
        .context("Failed to start cargo")?;
    ensure!(status.success(), "cargo build --workspace --bins failed: {status}");
    Ok(folder)
}

fn is_of_the_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// `target/debug` or the like: where the running test or program was built.
fn profile_folder() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let folder = executable.parent().context("the test has no folder")?;
    let is_dependency = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if is_dependency {
        folder.parent().context("deps has no parent")?.to_owned()
    } else {
        folder.to_owned()
    })
}

/// The commands of a program, or those below one of them, in words: from its own help.
///
/// # Errors
/// When the program does not run.
pub fn commands(program: &str, above: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for name in listed(program, above)? {
        let whole = format!("{above} {name}").trim_start().to_owned();
        let below = commands(program, &whole)?;
        if below.is_empty() {
            found.insert(whole);
        } else {
            found.extend(below);
        }
    }
    Ok(found)
}

/// The commands directly below a program or one of its commands.
///
/// # Errors
/// When the program does not run.
pub fn listed(program: &str, above: &str) -> Result<BTreeSet<String>> {
    let words: Vec<_> = above.split_whitespace().chain(["-h"]).collect();
    let help = help(program, &words)?;
    let listed =
        help.split("\nCommands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let names =
        listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    Ok(names.map(str::to_owned).collect())
}

/// What a program says of itself, the same in every environment.
///
/// # Errors
/// When the program does not run.
pub fn help(program: &str, arguments: &[&str]) -> Result<String> {
    capture(Command::new(built()?.join(program)).args(arguments).env_clear())
}
