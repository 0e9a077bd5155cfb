//! `vmsgate-shim.exe` on a machine that runs it with Wine, as its ordinary user.
//!
//! The program is cross-built once (`deploy/windows/build`, which `.ci/run` does) and named by [`PROGRAM`]. Wine keeps its
//! C: drive below the user's home; the user's home is also the present folder, so paths are given relative to it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    netns::Netns,
    process::{User, capture, command},
};

/// The environment variable that names `vmsgate-shim.exe`.
pub const PROGRAM: &str = "VMSGATE_TEST_WINDOWS_SHIM";

/// Debian's Wine for 64-bit programs; it is in no folder of the path.
const WINE: &str = "/usr/lib/wine/wine64";

/// Of the packets of what plays Wintun: the program's, and the other end's.
pub const WINTUN_PORTS: [u16; 2] = [49_001, 49_002];

/// Wine 8 has no bcryptprimitives.dll, where Rust's standard library finds random numbers. Windows has.
const RANDOM: &str = "#include <windows.h>\n\
    BOOLEAN WINAPI SystemFunction036(PVOID, ULONG);\n\
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {\n\
    return SystemFunction036(data, (ULONG)size);\n}\n";
const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// A user's Windows.
#[derive(Debug)]
pub struct Wine {
    home: PathBuf,
}

/// What the current machine lacks, if anything.
#[must_use]
pub fn lack() -> Option<String> {
    let Some(program) = env::var_os(PROGRAM) else {
        return Some(format!("{PROGRAM} names no vmsgate-shim.exe (deploy/windows/build makes one)"));
    };
    [Path::new(WINE), Path::new(&program)]
        .into_iter()
        .find(|path| !path.is_file())
        .map(|path| format!("{} is missing (.ci/run installs and builds it)", path.display()))
}

impl Wine {
    /// Makes a Windows with the program, below `home`, which is the user's.
    ///
    /// # Errors
    /// When Wine or the compiler refuses.
    pub fn install(namespace: &Netns, home: &Path) -> Result<Self> {
        let program = env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} is not set"))?;
        fs::copy(&program, home.join("vmsgate-shim.exe")).context("Failed to copy vmsgate-shim.exe")?;
        let wine = Self { home: home.to_owned() };
        wine.library("bcryptprimitives", RANDOM, "-ladvapi32")?;
        // The server of this user's Wine is started with the first program, and so belongs to the namespace.
        let mut boot = command(namespace, User::Client, WINE);
        capture(wine.environment(&mut boot).args(["wineboot", "-i"]))?;
        ensure!(wine.drive().is_dir(), "Wine made no C: drive");
        Ok(wine)
    }

    /// Puts something in Wintun's place beside the program: the interface's packets are datagrams between the two ports
    /// of [`WINTUN_PORTS`] on loopback, the first one the program's.
    ///
    /// # Errors
    /// When the compiler refuses.
    pub fn add_wintun(&self) -> Result<()> {
        self.library("wintun", include_str!("wine/wintun.c"), "-lws2_32")
    }

    fn library(&self, name: &str, source: &str, needs: &str) -> Result<()> {
        let file = self.home.join(format!("{name}.c"));
        fs::write(&file, source)?;
        let library = self.home.join(format!("{name}.dll"));
        capture(Command::new(COMPILER).arg("-shared").arg("-o").arg(&library).arg(&file).arg(needs))?;
        Ok(fs::remove_file(file)?)
    }

    /// Where the program is.
    #[must_use]
    pub fn shim(&self) -> PathBuf {
        self.home.join("vmsgate-shim.exe")
    }

    /// A command of the user.
    #[must_use]
    pub fn command(&self, namespace: &Netns, program: &Path) -> Command {
        let mut wine = command(namespace, User::Client, WINE);
        self.environment(&mut wine).arg(program);
        wine
    }

    /// Where a path like `C:\users\anna` is.
    #[must_use]
    pub fn here(&self, path: &str) -> PathBuf {
        let below = path.get(2..).unwrap_or_default().replace('\\', "/");
        self.drive().join(below.trim_start_matches('/'))
    }

    /// Where the folders of Windows users are.
    #[must_use]
    pub fn users(&self) -> PathBuf {
        self.drive().join("users")
    }

    fn drive(&self) -> PathBuf {
        self.home.join("wine/drive_c")
    }

    fn environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("USER", "anna")
            .env("WINEPREFIX", self.home.join("wine"))
            .env("WINEDEBUG", "-all")
            // Neither .NET nor a browser, which a new prefix would ask for, and no entries in the host's menus.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=;winemenubuilder.exe=d")
            .env("RUST_BACKTRACE", "0")
            .env_remove("DISPLAY")
    }
}
