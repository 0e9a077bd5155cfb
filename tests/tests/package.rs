//! What `deploy/linux/build` packs is installed and removed by dpkg, works from where it was put, and is complete.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use vmsgate_tests::{binaries, checkout, process::capture, require::can_run};

#[test]
fn the_debian_packages_install_working_programs_with_manuals_and_completions_and_go_without_a_trace() {
    // The folder that dpkg installs into belongs to root.
    if !can_run(&["cargo-deb", "dpkg", "strip", "python3", "gzip", "systemd-sysusers", "systemd-tmpfiles"]) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let build = checkout().join("deploy/linux/build");
    capture(Command::new(build).arg("--programs").arg(binaries::built().unwrap()).arg(out.path())).unwrap();
    capture(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(out.path()))
        .unwrap();
    let sums = fs::read_to_string(out.path().join("SHA256SUMS")).unwrap();
    let listed: Vec<_> = sums.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let [programs @ .., gateway, shim] = &listed[..] else { panic!("{sums}") };
    assert_eq!(programs, ["vmsgate", "vmsgate-keys", "vmsgate-shim"]);
    the_shims(&out.path().join(shim));
    the_gateways(&out.path().join(gateway));
}

fn the_shims(package: &Path) {
    let root = Root::new();
    root.install("vmsgate-shim", package);
    root.has_the_program(
        "vmsgate-shim",
        &["up", "enroll", "rotate", "status", "hosts", "completions", "man"],
    );
    assert_eq!(
        root.document("vmsgate-shim", "operator-guide.md"),
        fs::read_to_string(checkout().join("docs/operator-guide.md")).unwrap()
    );
    root.dpkg(&["--purge", "vmsgate-shim"]);
    assert_eq!(root.files(), Vec::<PathBuf>::new());
}

fn the_gateways(package: &Path) {
    let root = Root::new();
    fs::create_dir(root.path("etc")).unwrap();
    root.install("vmsgate", package);
    root.has_the_program("vmsgate", &["run", "check", "health", "audit-verify", "man"]);
    root.has_the_program("vmsgate-keys", &["init", "client-add", "backup", "man"]);
    let unit = fs::read_to_string(root.path("lib/systemd/system/vmsgate.service")).unwrap();
    assert_eq!(unit, fs::read_to_string(checkout().join("deploy/systemd/vmsgate.service")).unwrap());
    let users = fs::read_to_string(root.path("etc/passwd")).unwrap();
    let user =
        users.lines().find(|line| line.starts_with("vmsgate:")).unwrap().split(':').collect::<Vec<_>>();
    assert_eq!(user[5..], ["/var/lib/vmsgate", "/usr/sbin/nologin"]);
    let data = fs::metadata(root.path("var/lib/vmsgate")).unwrap();
    assert_eq!((data.uid().to_string().as_str(), data.mode() & 0o777), (user[2], 0o700));

    // Keys and audit log are a person's to delete.
    fs::write(root.path("var/lib/vmsgate/vmsgate.db"), "precious").unwrap();
    root.dpkg(&["--purge", "vmsgate"]);
    let mut left = root.files();
    left.retain(|path| !path.starts_with(root.path("etc")));
    assert_eq!(left, [root.path("var/lib/vmsgate/vmsgate.db")]);
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

    /// Installs a package of that name, with what its name, licences and version promise.
    fn install(&self, name: &str, package: &Path) {
        let file = package.file_name().unwrap().to_str().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(file.starts_with(&format!("{name}_{version}-1_")) && file.ends_with(".deb"), "{file}");
        self.dpkg(&["--install", package.to_str().unwrap()]);
        assert!(self.document(name, "copyright").contains("License: Apache-2.0 or Expat"));
        let licences = self.document(name, "THIRD-PARTY-LICENSES");
        let (list, texts) = licences.split_once("\n====").unwrap();
        for library in ["boringtun", "smoltcp", "ring", "tokio"] {
            let line = list.lines().find(|line| line.starts_with(&format!("{library} "))).unwrap();
            let (name, _) = line.split_once(": ").unwrap();
            assert!(texts.contains(name), "no text for {name}");
        }
    }

    /// Runs it, and compares what comes with it.
    fn has_the_program(&self, name: &str, commands: &[&str]) {
        let program = self.path(&format!("usr/bin/{name}"));
        let shown = capture(Command::new(&program).arg("--version")).unwrap();
        assert_eq!(shown, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        for page in commands.iter().map(|command| format!("{name}-{command}")).chain([name.to_owned()]) {
            let page = self.path(&format!("usr/share/man/man1/{page}.1.gz"));
            let page = capture(Command::new("gzip").arg("-dc").arg(&page)).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        for (shell, place) in [
            ("bash", format!("usr/share/bash-completion/completions/{name}")),
            ("zsh", format!("usr/share/zsh/vendor-completions/_{name}")),
            ("fish", format!("usr/share/fish/vendor_completions.d/{name}.fish")),
        ] {
            let printed = capture(Command::new(&program).args(["completions", shell])).unwrap();
            assert_eq!(fs::read_to_string(self.path(&place)).unwrap(), printed, "{place}");
        }
    }

    fn document(&self, package: &str, name: &str) -> String {
        fs::read_to_string(self.path("usr/share/doc").join(package).join(name)).unwrap()
    }

    /// The programs of the test are linked with a C library that is not installed there.
    fn dpkg(&self, arguments: &[&str]) {
        let mut dpkg = Command::new("dpkg");
        let outside = ["--force-depends", "--force-script-chrootless"];
        capture(dpkg.args(outside).arg("--root").arg(self.0.path()).args(arguments)).unwrap();
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
