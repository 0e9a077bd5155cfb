//! The running shims of one user: each has a socket in a folder that only this user can enter.
//!
//! Whoever connects to the socket gets the [`Report`] as JSON and nothing else: there is no request to parse. The
//! socket carries the profile's name, so that one profile cannot be up twice (two shims with one key would take the
//! tunnel away from each other every few seconds).

use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use vmsgate_shim::Report;
use vmsgate_shim::report::SCHEMA_VERSION;

/// How long a running shim may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// A thousand servers with all their listeners fit.
const MAX_REPORT_BYTES: u64 = 16 << 20;
const ENDING: &str = "sock";

/// What crosses the socket.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema_version: u32,
    #[serde(flatten)]
    report: Report,
}

/// Why a shim cannot have its socket, or cannot be asked.
#[derive(Debug, Error)]
pub enum InstanceError {
    #[error("the profile {0} is already up")]
    AlreadyUp(String),
    #[error("{} is not a folder of yours alone", .0.display())]
    NotPrivate(PathBuf),
    #[error("cannot use {}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("no shim is running")]
    NoneRuns,
    #[error("no shim is running for the profile {0}")]
    NotRunning(String),
    #[error("several shims are running: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("the running shim does not answer")]
    NoAnswer(#[source] io::Error),
    #[error("the running shim is of another version than this command")]
    OtherVersion,
}

/// The socket of this process; dropping it removes the file.
#[derive(Debug)]
pub struct Instance {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Instance {
    /// Takes the name of a profile. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a shim is up with it, or there is no safe place for the socket.
    pub fn claim(profile: &str) -> Result<Self, InstanceError> {
        let folder = prepare_folder()?;
        let path = folder.join(format!("{profile}.{ENDING}"));
        let unusable = |source| InstanceError::Unusable { path: path.clone(), source };
        // Asking and taking are one step for others that start now.
        let lock = File::open(&folder).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        if UnixStream::connect(&path).is_ok() {
            return Err(InstanceError::AlreadyUp(profile.to_owned()));
        }
        // Left behind by one that was killed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(unusable)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unusable)?;
        let inode = fs::symlink_metadata(&path).map_err(unusable)?.ino();
        Ok(Self { listener, path, inode })
    }

    /// Answers for as long as it is polled.
    pub async fn serve(&self, report: impl Fn() -> Report) {
        loop {
            match self.listener.accept().await {
                Ok((mut stream, _)) => {
                    let document = Document { schema_version: SCHEMA_VERSION, report: report() };
                    let Ok(text) = serde_json::to_vec(&document) else { continue };
                    // Only this user can be on the other side; one that does not read costs a task for a while.
                    tokio::spawn(tokio::time::timeout(LIMIT, async move {
                        let _ = stream.write_all(&text).await;
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "the status socket cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Asks the running shim of a profile, or the only one that runs.
///
/// # Errors
/// When it does not run, or there are several to choose from.
pub fn ask(profile: Option<&Path>) -> Result<Report, InstanceError> {
    let path = match profile {
        Some(profile) => {
            let name = name_of(profile);
            let path = folder().join(format!("{name}.{ENDING}"));
            let running = UnixStream::connect(&path).is_ok();
            running.then_some(path).ok_or(InstanceError::NotRunning(name))?
        }
        None => {
            let mut running = running();
            match (running.pop(), running.is_empty()) {
                (None, _) => return Err(InstanceError::NoneRuns),
                (Some(only), true) => only,
                (Some(last), false) => {
                    running.push(last);
                    return Err(InstanceError::Several(running.iter().map(|path| name_of(path)).collect()));
                }
            }
        }
    };
    let answer = read(&path).map_err(InstanceError::NoAnswer)?;
    let document: Document = serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if document.schema_version == SCHEMA_VERSION {
        Ok(document.report)
    } else {
        Err(InstanceError::OtherVersion)
    }
}

/// What a profile's file is called without its folder and ending.
fn name_of(profile: &Path) -> String {
    profile.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut answer = Vec::new();
    stream.take(MAX_REPORT_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The sockets that somebody answers on, in order of their names.
fn running() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    let sockets = entries.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
    let mut answering: Vec<PathBuf> = sockets.filter(|path| UnixStream::connect(path).is_ok()).collect();
    answering.sort();
    answering
}

/// `$XDG_RUNTIME_DIR/vmsgate-shim`, or a folder of the user's own among the temporary files.
fn folder() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("vmsgate-shim"),
        None => env::temp_dir().join(format!("vmsgate-shim-{}", rustix::process::getuid().as_raw())),
    }
}

/// Makes the folder, or makes sure that the one that is there is ours: among temporary files anyone may have made it.
fn prepare_folder() -> Result<PathBuf, InstanceError> {
    let folder = folder();
    let unusable = |source| InstanceError::Unusable { path: folder.clone(), source };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder).map_err(unusable)?;
    let ours =
        found.is_dir() && found.uid() == rustix::process::getuid().as_raw() && found.mode() & 0o077 == 0;
    if ours { Ok(folder) } else { Err(InstanceError::NotPrivate(folder)) }
}
