//! Programs under test and their peers: started in a namespace as a chosen user, watched line by line, ended by id.
//!
//! A program that is not run as root loses every capability, including the bounding set, and may never gain one
//! (`setpriv --bounding-set=-all --no-new-privs`): what passes so needs no privilege.

mod in_time;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub use self::in_time::InTime;
use crate::netns::Netns;

/// How long a program may take to become ready or to end before the test gives up. Generous: a loaded machine is slow,
/// and nothing but a failure waits this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Root with all it has: for peers that need a TUN device.
    Root,
    /// The gateway's operator: an ordinary user with no capability.
    Gateway,
    /// The same with CAP_NET_ADMIN alone, as egress `tun` needs at its start.
    GatewayNetAdmin,
    /// The person at the client: another ordinary user.
    Client,
    /// The same with CAP_NET_ADMIN alone, as mode `tun` needs at its start.
    ClientNetAdmin,
}

impl User {
    /// The numeric id, which needs no entry in /etc/passwd.
    #[must_use]
    pub fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Gateway | Self::GatewayNetAdmin => 61_010,
            Self::Client | Self::ClientNetAdmin => 61_020,
        }
    }
}

/// A command inside `namespace`, run as `user`.
#[must_use]
pub fn command(namespace: &Netns, user: User, program: impl AsRef<OsStr>) -> Command {
    if user == User::Root {
        return namespace.command(program);
    }
    let mut command = namespace.command("setpriv");
    let capabilities: &[&str] = match user {
        User::GatewayNetAdmin | User::ClientNetAdmin => &[
            "--bounding-set=-all,+net_admin",
            "--inh-caps=-all,+net_admin",
            "--ambient-caps=-all,+net_admin",
        ],
        _ => &["--bounding-set=-all", "--inh-caps=-all"],
    };
    let id = user.uid();
    command
        .args([format!("--reuid={id}"), format!("--regid={id}")])
        .args(["--clear-groups", "--no-new-privs"])
        .args(capabilities)
        .arg("--")
        .arg(program)
        .env("HOME", "/nonexistent");
    command
}

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<String>,
    open_streams: u8,
}

impl Process {
    /// Starts `command` and begins to collect both its output streams by line.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("Failed to start {command:?}"))?;
        let output = Arc::new(Output::default());
        output.lock().open_streams = 2;
        collect(child.stdout.take().context("no standard output")?, Arc::clone(&output));
        collect(child.stderr.take().context("no standard error")?, Arc::clone(&output));
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// The process id; the program's own, since the starters replace themselves.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().text.join("\n")
    }

    /// Waits until a line for which `wanted` holds has been printed, and returns it.
    ///
    /// # Errors
    /// When the program ends or [`PATIENCE`] runs out first.
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lock();
        let mut seen = 0;
        loop {
            if let Some(line) = lines.text.iter().skip(seen).find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = lines.text.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.open_streams == 0 {
                let end = if left.is_zero() { "did not say so in time" } else { "ended without saying so" };
                bail!("waiting for {what}: {} {end}; it printed:\n{}", self.name, lines.text.join("\n"));
            }
            lines = self.output.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Whether it has closed its output, as a program does when it ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.output.lock().open_streams == 0
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.id())?), signal)
            .with_context(|| format!("{} is gone", self.name))
    }

    /// Waits for the end, and returns the status and everything printed.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn wait(mut self) -> Result<(ExitStatus, String)> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lock();
        while lines.open_streams > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "{} did not end within {PATIENCE:?}; it printed:\n{}",
                    self.name,
                    lines.text.join("\n")
                );
            }
            lines = self.output.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(lines);
        let status = self.child.wait()?;
        Ok((status, self.output()))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it ignores the request.
    pub fn stop(self) -> Result<(ExitStatus, String)> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.output.lock();
            let skipped = lines.text.len().saturating_sub(80);
            let mut text = format!("---- last lines of {} (pid {})\n", self.name, self.child.id());
            for line in lines.text.iter().skip(skipped) {
                let _ = writeln!(text, "{line}");
            }
            crate::say(&text);
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or fails; the message holds what it wrote to standard error.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.output_in_time().with_context(|| format!("{command:?} did not run to its end"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} wrote something that is not UTF-8"))
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            output.lock().text.push(String::from_utf8_lossy(&line).into_owned());
            output.changed.notify_all();
        }
        output.lock().open_streams -= 1;
        output.changed.notify_all();
    });
}
