//! What `deploy/linux/build` packs is installed and removed by dpkg, works from where it was put, and is complete.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use vmsgate_tests::{binaries, process::capture, require::can_run};

#[test]
fn the_debian_package_installs_a_working_program_with_manual_and_completions_and_goes_without_a_trace() {
    // The folder that dpkg installs into belongs to root.
    if !can_run(&["cargo-deb", "dpkg", "strip", "python3", "gzip"]) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let build = repository().join("deploy/linux/build");
    capture(Command::new(build).arg("--programs").arg(binaries::built().unwrap()).arg(out.path())).unwrap();
    capture(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(out.path()))
        .unwrap();
    let sums = fs::read_to_string(out.path().join("SHA256SUMS")).unwrap();
    let listed: Vec<_> = sums.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let package = *listed.last().unwrap();
    assert_eq!(listed, ["vmsgate", "vmsgate-keys", "vmsgate-shim", package]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        package.starts_with(&format!("vmsgate-shim_{version}-1_")) && package.ends_with(".deb"),
        "{package}"
    );

    let root = Root::new();
    root.dpkg(&["--install", out.path().join(package).to_str().unwrap()]);
    let shim = root.path("usr/bin/vmsgate-shim");
    let shown = capture(Command::new(&shim).arg("--version")).unwrap();
    assert_eq!(shown, format!("vmsgate-shim {version}\n"));
    for command in ["", "-up", "-enroll", "-rotate", "-status", "-hosts", "-completions", "-man"] {
        let page = root.path(&format!("usr/share/man/man1/vmsgate-shim{command}.1.gz"));
        let page = capture(Command::new("gzip").arg("-dc").arg(&page)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/vmsgate-shim"),
        ("zsh", "usr/share/zsh/vendor-completions/_vmsgate-shim"),
        ("fish", "usr/share/fish/vendor_completions.d/vmsgate-shim.fish"),
    ] {
        let printed = capture(Command::new(&shim).args(["completions", shell])).unwrap();
        assert_eq!(fs::read_to_string(root.path(place)).unwrap(), printed, "{place}");
    }
    let documents = root.path("usr/share/doc/vmsgate-shim");
    let document = |name: &str| fs::read_to_string(documents.join(name)).unwrap();
    assert!(document("copyright").contains("License: Apache-2.0 or Expat"));
    assert_eq!(
        document("operator-guide.md"),
        fs::read_to_string(repository().join("docs/operator-guide.md")).unwrap()
    );
    let licences = document("THIRD-PARTY-LICENSES");
    let (list, texts) = licences.split_once("\n====").unwrap();
    for library in ["boringtun", "smoltcp", "ring", "tokio"] {
        let line = list.lines().find(|line| line.starts_with(&format!("{library} "))).unwrap();
        let (name, _) = line.split_once(": ").unwrap();
        assert!(texts.contains(name), "no text for {name}");
    }

    root.dpkg(&["--purge", "vmsgate-shim"]);
    assert_eq!(root.files(), Vec::<PathBuf>::new());
}

/// A machine's file system as far as dpkg needs one.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for folder in ["info", "updates"] {
            fs::create_dir_all(root.database().join(folder)).unwrap();
        }
        fs::write(root.database().join("status"), "").unwrap();
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("var/lib/dpkg")
    }

    /// The programs of the test are linked with a C library that is not installed there.
    fn dpkg(&self, arguments: &[&str]) {
        let mut dpkg = Command::new("dpkg");
        capture(dpkg.arg("--force-depends").arg("--root").arg(self.0.path()).args(arguments)).unwrap();
    }

    /// Every file but dpkg's own.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path == self.database() {
                    continue;
                }
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
