//! curl, the client of the web server: downloads that are watched as they go, and uploads.

use std::{
    io::{self, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::process::{InTime, PATIENCE};

/// Fetches `url` by curl and returns the size and SHA-256 of what came.
///
/// # Errors
/// When curl reports one.
pub fn fetch(curl: Command, url: &str) -> Result<(u64, String)> {
    Download::start(curl, url)?.finish()
}

/// Uploads a file by curl.
///
/// # Errors
/// When curl or the server reports one.
pub fn upload(mut curl: Command, file: &Path, url: &str) -> Result<()> {
    let output =
        prepare(&mut curl).arg("-T").arg(file).arg(url).output_in_time().context("Failed to start curl")?;
    ensure!(output.status.success(), "curl -T … {url}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Adds what every call has. A proxy of the test machine is none of the site's; one that the test names is used.
fn prepare(curl: &mut Command) -> &mut Command {
    let proxied = curl.get_args().any(|argument| argument == "--proxy");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--globoff",
        "--noproxy",
        if proxied { "" } else { "*" },
    ])
}

/// A download in progress, watched as it goes.
#[derive(Debug)]
pub struct Download {
    curl: Child,
    progress: Arc<(Mutex<Progress>, Condvar)>,
    reader: Option<thread::JoinHandle<io::Result<(u64, String)>>>,
}

/// How far a download has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Bytes received.
    pub bytes: u64,
    /// When the latest of them came.
    pub last: Option<Instant>,
    /// Whether curl has ended.
    pub ended: bool,
}

impl Download {
    /// Starts to fetch `url`.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub fn start(mut curl: Command, url: &str) -> Result<Self> {
        let mut curl = prepare(&mut curl)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("Failed to start curl")?;
        let mut stdout = curl.stdout.take().context("curl has no standard output")?;
        let progress = Arc::<(Mutex<Progress>, Condvar)>::default();
        let shared = Arc::clone(&progress);
        let reader = thread::spawn(move || {
            let result = checksum(&mut stdout, |length| {
                let mut progress = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                progress.bytes += length as u64;
                progress.last = Some(Instant::now());
                shared.1.notify_all();
            });
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            shared.1.notify_all();
            result
        });
        Ok(Self { curl, progress, reader: Some(reader) })
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until at least `bytes` have come.
    ///
    /// # Errors
    /// When the download ends or the patience runs out first.
    pub fn wait_for(&self, bytes: u64) -> Result<()> {
        let progress = self.wait_until(|progress| progress.bytes >= bytes)?;
        ensure!(progress.bytes >= bytes, "the download ended after {} bytes, before {bytes}", progress.bytes);
        Ok(())
    }

    /// Waits until the download has ended, well or not, and says when its last byte came.
    ///
    /// # Errors
    /// When the patience runs out first.
    pub fn wait_for_end(&self) -> Result<Progress> {
        self.wait_until(|progress| progress.ended)
    }

    /// Waits until nothing has come for `silence`, and says how far the download had come and when.
    ///
    /// # Errors
    /// When the patience runs out first.
    pub fn wait_for_silence(&self, silence: Duration) -> Result<Progress> {
        let deadline = Instant::now() + PATIENCE;
        let mut progress = self.progress.0.lock().unwrap_or_else(PoisonError::into_inner);
        while Instant::now() < deadline {
            let bytes = progress.bytes;
            let (later, timeout) = self
                .progress
                .1
                .wait_timeout_while(progress, silence, |progress| progress.bytes == bytes)
                .unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Ok(*later);
            }
            progress = later;
        }
        bail!("the download went on for {PATIENCE:?}, to {} bytes", progress.bytes)
    }

    /// Waits for the end and returns the size and SHA-256 of what came.
    ///
    /// # Errors
    /// When curl reports a failure, e.g. a connection that was reset.
    pub fn finish(mut self) -> Result<(u64, String)> {
        let received =
            self.reader.take().and_then(|reader| reader.join().ok()).context("the reader panicked")??;
        let mut complaints = String::new();
        self.curl.stderr.take().context("curl has no standard error")?.read_to_string(&mut complaints)?;
        let status = self.curl.wait()?;
        ensure!(status.success(), "curl after {} bytes: {status}: {}", received.0, complaints.trim());
        Ok(received)
    }

    fn wait_until(&self, done: impl Fn(&Progress) -> bool) -> Result<Progress> {
        let guard = self.progress.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, timeout) = self
            .progress
            .1
            .wait_timeout_while(guard, PATIENCE, |progress| !done(progress) && !progress.ended)
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(!timeout.timed_out(), "the download stands at {} bytes after {PATIENCE:?}", progress.bytes);
        Ok(*progress)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// Reads to the end; returns the length and SHA-256, and tells the length of each piece as it comes.
pub(crate) fn checksum(stream: &mut impl Read, mut seen: impl FnMut(usize)) -> io::Result<(u64, String)> {
    let (mut hasher, mut total, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let length = stream.read(&mut buffer)?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            return Ok((total, hex(&hasher.finalize())));
        };
        hasher.update(piece);
        total += length as u64;
        seen(length);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
