//! The running shims of one user: each has a socket in a folder that only this user can enter.
//!
//! Whoever connects to the socket says one word, or nothing, and ends its side. It gets the [`Report`] as JSON, or with
//! [`ROTATE`] what became of the rotation. The socket carries the profile's name, so that one profile cannot be up twice (two shims with one key would take the
//! tunnel away from each other every few seconds).

use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::spawn_local;
use vmsgate_shim::Report;
use vmsgate_shim::keys::{RotateError, Rotated};
use vmsgate_shim::report::{ErrorReport, SCHEMA_VERSION};

/// How long a running shim may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// A thousand servers with all their listeners fit.
const MAX_REPORT_BYTES: u64 = 16 << 20;
const ENDING: &str = "sock";
/// The one request there is.
const ROTATE: &[u8] = b"rotate";
/// How long a rotation may take: asking, and four handshakes under the new key.
const ROTATION_LIMIT: Duration = Duration::from_secs(60);

/// What crosses the socket.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema_version: u32,
    #[serde(flatten)]
    report: Report,
}

/// What became of a rotation, as it crosses the socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rotation {
    schema_version: u32,
    pub outcome: Result<Rotated, ErrorReport>,
}

impl Rotation {
    pub fn new(outcome: Result<Rotated, RotateError>) -> Self {
        let outcome = outcome.map_err(|error| ErrorReport { message: error.to_string(), hint: error.hint() });
        Self { schema_version: SCHEMA_VERSION, outcome }
    }
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
    pub async fn serve(
        &self,
        report: impl Fn() -> Report + Clone + 'static,
        rotate: impl AsyncFn() -> Result<Rotated, RotateError> + Clone + 'static,
    ) {
        loop {
            match self.listener.accept().await {
                // Only this user can be on the other side; one that does nothing costs a task for a while.
                Ok((stream, _)) => {
                    let (report, rotate) = (report.clone(), rotate.clone());
                    spawn_local(async move {
                        if let Err(error) = answer(stream, report, rotate).await {
                            tracing::debug!(%error, "nobody waits for an answer");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the status socket cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn answer(
    stream: tokio::net::UnixStream,
    report: impl Fn() -> Report,
    rotate: impl AsyncFn() -> Result<Rotated, RotateError>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut request = Vec::new();
    let mut reader = reader.take(ROTATE.len() as u64 + 1);
    tokio::time::timeout(LIMIT, reader.read_to_end(&mut request)).await??;
    let text = if request == ROTATE {
        serde_json::to_vec(&Rotation::new(rotate().await))?
    } else {
        serde_json::to_vec(&Document { schema_version: SCHEMA_VERSION, report: report() })?
    };
    tokio::time::timeout(LIMIT, writer.write_all(&text)).await?
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
    let answer = exchange(&find(profile)?, &[], LIMIT).map_err(InstanceError::NoAnswer)?;
    let document: Document = serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if document.schema_version == SCHEMA_VERSION {
        Ok(document.report)
    } else {
        Err(InstanceError::OtherVersion)
    }
}

/// Has the running shim of a profile, or the only one that runs, replace its key now.
///
/// # Errors
/// As [`ask`]. That the key was not replaced is no error here.
pub fn rotate(profile: Option<&Path>) -> Result<Rotation, InstanceError> {
    let answer = exchange(&find(profile)?, ROTATE, ROTATION_LIMIT).map_err(InstanceError::NoAnswer)?;
    let rotation: Rotation = serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if rotation.schema_version == SCHEMA_VERSION { Ok(rotation) } else { Err(InstanceError::OtherVersion) }
}

/// The socket of the running shim of a profile, or of the only one that runs.
fn find(profile: Option<&Path>) -> Result<PathBuf, InstanceError> {
    match profile {
        Some(profile) => {
            let name = name_of(profile);
            let path = folder().join(format!("{name}.{ENDING}"));
            let running = UnixStream::connect(&path).is_ok();
            running.then_some(path).ok_or(InstanceError::NotRunning(name))
        }
        None => {
            let mut running = running();
            match (running.pop(), running.is_empty()) {
                (None, _) => Err(InstanceError::NoneRuns),
                (Some(only), true) => Ok(only),
                (Some(last), false) => {
                    running.push(last);
                    Err(InstanceError::Several(running.iter().map(|path| name_of(path)).collect()))
                }
            }
        }
    }
}

/// What a profile's file is called without its folder and ending.
fn name_of(profile: &Path) -> String {
    profile.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn exchange(path: &Path, request: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
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
