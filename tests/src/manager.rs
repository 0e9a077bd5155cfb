//! A service manager as systemd is one: it passes sockets to what it starts, and keeps those that it is asked to keep
//! (sd_listen_fds(3), sd_notify(3)).

use std::{
    ffi::OsString,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::UdpSocket,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    cmsg_space,
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

use crate::process::{PATIENCE, Process};

/// Descriptors from here on are nobody's: the shell needs the lower ones.
const SPARE: i32 = 100;
/// Largest message that the manager takes.
const LARGEST: usize = 4096;

/// A running service manager.
#[derive(Debug)]
pub struct ServiceManager {
    path: PathBuf,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// What it keeps, the newest first, as systemd does.
    kept: Vec<(String, OwnedFd)>,
    told: Vec<String>,
}

/// What is to be started, with the descriptors that it inherits.
#[derive(Debug)]
pub struct Passed {
    command: Command,
    descriptors: Vec<OwnedFd>,
}

impl Passed {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self, name: &str) -> Result<Process> {
        let started = Process::start(name, self.command);
        drop(self.descriptors);
        started
    }
}

impl ServiceManager {
    /// Starts one whose notification socket is in `folder`. It ends with the process.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(folder: &Path) -> Result<Self> {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).context("Failed to bind the notification socket")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((message, descriptors)) = receive(&socket) {
                let mut state = lock(&shared.0);
                state.take(&message, descriptors);
                shared.1.notify_all();
            }
        });
        Ok(Self { path, state })
    }

    /// Keeps a socket that it opened itself, as one with a socket unit does.
    pub fn add(&self, name: &str, socket: UdpSocket) {
        lock(&self.state.0).kept.push((name.to_owned(), socket.into()));
    }

    /// Closes what it keeps, as when a service is stopped for good.
    pub fn forget(&self) {
        lock(&self.state.0).kept.clear();
    }

    /// The names of what it keeps.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let mut names: Vec<String> = lock(&self.state.0).kept.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Waits until it was told this so many times.
    ///
    /// # Errors
    /// When it is not told in time.
    pub fn wait_until_told(&self, what: &str, times: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = lock(&self.state.0);
        while state.told.iter().filter(|told| *told == what).count() < times {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{what} was not told {times} times, but: {:?}", state.told);
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// `command` as this manager starts it: with what it keeps, in its own order.
    ///
    /// # Errors
    /// When descriptors cannot be copied.
    pub fn passing(&self, command: &Command) -> Result<Passed> {
        let state = lock(&self.state.0);
        let mut script = String::from("export LISTEN_PID=$$; exec \"$@\"");
        let (mut names, mut descriptors) = (Vec::new(), Vec::new());
        for (at, (name, kept)) in state.kept.iter().enumerate() {
            let inherited = fcntl_dupfd_cloexec(kept, SPARE)?;
            fcntl_setfd(&inherited, FdFlags::empty())?;
            script += &format!(" {}<&{}", at + 3, inherited.as_raw_fd());
            script += &format!(" {}<&-", inherited.as_raw_fd());
            names.push(name.clone());
            descriptors.push(inherited);
        }
        // Redirections beyond one digit: the plain shell does not know them.
        let mut whole = Command::new("bash");
        whole.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            whole.env(name, value.map_or_else(OsString::new, ToOwned::to_owned));
        }
        whole.env("NOTIFY_SOCKET", &self.path).current_dir("/");
        if !names.is_empty() {
            whole.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        Ok(Passed { command: whole, descriptors })
    }
}

impl State {
    fn take(&mut self, message: &str, descriptors: Vec<OwnedFd>) {
        let value = |key: &str| message.lines().find_map(|line| line.strip_prefix(key));
        let name = value("FDNAME=").unwrap_or("stored").to_owned();
        if value("FDSTOREREMOVE=") == Some("1") {
            self.kept.retain(|(other, _)| *other != name);
        } else if value("FDSTORE=") == Some("1") {
            for descriptor in descriptors {
                self.kept.insert(0, (name.clone(), descriptor));
            }
        }
        // Whatever else came is closed, that of a barrier too.
        self.told.extend(message.lines().map(ToOwned::to_owned));
    }
}

fn receive(socket: &UnixDatagram) -> Result<(String, Vec<OwnedFd>)> {
    let (mut buffer, mut space) = ([0; LARGEST], [MaybeUninit::uninit(); cmsg_space!(ScmRights(64))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let text = buffer.get(..received.bytes).unwrap_or_default();
    Ok((String::from_utf8_lossy(text).into_owned(), descriptors))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
