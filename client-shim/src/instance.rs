//! The running shims of one user, and how they are asked.
//!
//! Each listens on a channel that only this user can reach: a socket in a folder of the user's own, or on Windows a
//! named pipe. Whoever connects says one line: [`ROTATE`], [`EXAMINE`], [`PASSWORD`], or an empty one. It gets one line
//! of JSON: what became of the rotation, what the doctor found, the proxy's password, or the [`Report`]. The channel
//! carries the profile's name, so that one profile cannot be up twice (two shims with one key would take the tunnel
//! away from each other every few seconds).

#[cfg(unix)]
#[path = "instance/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "instance/windows.rs"]
mod platform;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::spawn_local;
use vmsgate_shim::Report;
use vmsgate_shim::doctor::{Doctor, Finding};
use vmsgate_shim::keys::{RotateError, Rotated};
use vmsgate_shim::proxy::Access;
use vmsgate_shim::report::{ErrorReport, SCHEMA_VERSION};

use platform::Listener;
pub use platform::{PLACE_HINT, running};

/// How long a running shim may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// A thousand servers with all their listeners fit.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
const MAX_REQUEST_BYTES: u64 = 64;
/// The requests there are beside an empty one.
const ROTATE: &str = "rotate";
const EXAMINE: &str = "examine";
const PASSWORD: &str = "password";
/// How long a rotation may take: asking, and four handshakes under the new key.
const ROTATION_LIMIT: Duration = Duration::from_secs(60);
/// How long the doctor may take with the largest site, all of whose servers are silent.
const EXAMINATION_LIMIT: Duration = Duration::from_secs(600);

/// What crosses the channel.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema_version: u32,
    #[serde(flatten)]
    report: Report,
}

/// The proxy's password, as it crosses the channel; none where there is no proxy, or it wants none.
#[derive(Serialize, Deserialize)]
struct Revealed {
    schema_version: u32,
    password: Option<String>,
}

/// What became of a rotation, as it crosses the channel.
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

/// What the doctor found, as it crosses the channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Examination {
    schema_version: u32,
    pub profile: String,
    pub findings: Vec<Finding>,
}

impl Examination {
    pub fn new(profile: String, findings: Vec<Finding>) -> Self {
        Self { schema_version: SCHEMA_VERSION, profile, findings }
    }
}

/// Why a shim cannot have its channel, or cannot be asked.
#[derive(Debug, Error)]
pub enum InstanceError {
    #[error("the profile {0} is already up")]
    AlreadyUp(String),
    #[cfg(unix)]
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

/// The channel of this process; dropping it gives the profile's name back.
#[derive(Debug)]
pub struct Instance(Listener);

impl Instance {
    /// Takes the name of a profile. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a shim is up with it, or there is no safe place for the channel.
    pub fn claim(profile: &str) -> Result<Self, InstanceError> {
        Listener::claim(profile).map(Self)
    }

    /// Answers for as long as it is polled.
    pub async fn serve(
        &mut self,
        report: impl Fn() -> Report + Clone + 'static,
        rotate: impl AsyncFn() -> Result<Rotated, RotateError> + Clone + 'static,
        doctor: Doctor,
        access: Option<Rc<Access>>,
    ) {
        loop {
            match self.0.accept().await {
                // Only this user can be on the other side; one that does nothing costs a task for a while.
                Ok(stream) => {
                    let (report, rotate) = (report.clone(), rotate.clone());
                    let (doctor, access) = (doctor.clone(), access.clone());
                    spawn_local(async move {
                        if let Err(error) = answer(stream, report, rotate, doctor, access).await {
                            tracing::debug!(%error, "nobody waits for an answer");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody can ask for the status now");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite,
    report: impl Fn() -> Report,
    rotate: impl AsyncFn() -> Result<Rotated, RotateError>,
    doctor: Doctor,
    access: Option<Rc<Access>>,
) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let request = tokio::time::timeout(LIMIT, read_line(&mut reader, MAX_REQUEST_BYTES)).await??;
    let mut text = if request == ROTATE.as_bytes() {
        serde_json::to_vec(&Rotation::new(rotate().await))?
    } else if request == EXAMINE.as_bytes() {
        let findings = doctor.examine(|_| ()).await;
        serde_json::to_vec(&Examination::new(report().profile, findings))?
    } else if request == PASSWORD.as_bytes() {
        let password = access.as_ref().and_then(|access| access.password());
        let password = password.map(|password| password.reveal().to_owned());
        serde_json::to_vec(&Revealed { schema_version: SCHEMA_VERSION, password })?
    } else {
        serde_json::to_vec(&Document { schema_version: SCHEMA_VERSION, report: report() })?
    };
    text.push(b'\n');
    tokio::time::timeout(LIMIT, async {
        writer.write_all(&text).await?;
        // The other side closes first: what it has not read yet would be lost with a pipe's end.
        read_line(&mut reader, MAX_REQUEST_BYTES).await
    })
    .await??;
    Ok(())
}

/// Asks the running shim of a profile, or the only one that runs.
///
/// # Errors
/// When it does not run, or there are several to choose from.
pub fn ask(profile: Option<&Path>) -> Result<Report, InstanceError> {
    let answer = exchange(&find(profile)?, "", LIMIT).map_err(InstanceError::NoAnswer)?;
    let document: Document = serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if document.schema_version == SCHEMA_VERSION {
        Ok(document.report)
    } else {
        Err(InstanceError::OtherVersion)
    }
}

/// The password of the running shim's proxy, for its user to see.
///
/// # Errors
/// As [`ask`].
pub fn password(profile: Option<&Path>) -> Result<Option<String>, InstanceError> {
    let answer = exchange(&find(profile)?, PASSWORD, LIMIT).map_err(InstanceError::NoAnswer)?;
    let revealed: Revealed = serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if revealed.schema_version == SCHEMA_VERSION {
        Ok(revealed.password)
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

/// Has the running shim of a profile, or the only one that runs, look at everything around it.
///
/// # Errors
/// As [`ask`].
pub fn examine(profile: Option<&Path>) -> Result<Examination, InstanceError> {
    let answer = exchange(&find(profile)?, EXAMINE, EXAMINATION_LIMIT).map_err(InstanceError::NoAnswer)?;
    let examination: Examination =
        serde_json::from_slice(&answer).map_err(|_| InstanceError::OtherVersion)?;
    if examination.schema_version == SCHEMA_VERSION {
        Ok(examination)
    } else {
        Err(InstanceError::OtherVersion)
    }
}

/// The profile that a running shim was started with: the one meant, or the only one.
fn find(profile: Option<&Path>) -> Result<String, InstanceError> {
    match profile {
        Some(profile) => {
            let name = name_of(profile);
            if platform::is_running(&name) { Ok(name) } else { Err(InstanceError::NotRunning(name)) }
        }
        None => {
            let mut running = running();
            running.sort();
            match (running.pop(), running.is_empty()) {
                (None, _) => Err(InstanceError::NoneRuns),
                (Some(only), true) => Ok(only),
                (Some(last), false) => {
                    running.push(last);
                    Err(InstanceError::Several(running))
                }
            }
        }
    }
}

/// What a profile's file is called without its folder and ending.
pub fn name_of(profile: &Path) -> String {
    profile.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn exchange(profile: &str, request: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exchange = async {
        let mut stream = BufReader::new(platform::connect(profile).await?);
        stream.get_mut().write_all(format!("{request}\n").as_bytes()).await?;
        read_line(&mut stream, MAX_ANSWER_BYTES).await
    };
    runtime.block_on(async { tokio::time::timeout(limit, exchange).await })?
}

/// One line without its end, or what there is up to the end or the limit.
async fn read_line(stream: impl AsyncBufReadExt + Unpin, limit: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(limit).read_until(b'\n', &mut line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}
