//! The service manager (systemd, or whatever speaks its protocol): it may hand over the UDP sockets, it is asked to keep
//! those that the gateway opens itself, and it is told when the gateway works and when it stops.
//!
//! With a kept socket the kernel goes on queueing what clients send while the gateway restarts, and nobody else can take
//! the port.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sd_notify::NotifyState;
use vmsgate_cli::{CliError, OrFail};
use vmsgate_netio::{BoundSocket, Inherited};

/// How the names of kept sockets begin.
const KEPT: &str = "vmsgate-";
/// How long the manager may take to let sockets go.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sockets that this process was started with.
#[derive(Debug)]
pub struct Handed(Vec<Inherited>);

impl Handed {
    pub fn take() -> Result<Handed, CliError> {
        Inherited::take().map(Handed).or_user("cannot use the sockets of the service manager")
    }

    /// How many of them are bound to this address.
    pub fn count(&self, address: SocketAddr) -> usize {
        self.0.iter().filter(|socket| socket.address == address).count()
    }

    /// The group bound to this address, if it is one for so many workers.
    pub fn claim(&mut self, address: SocketAddr, workers: u8) -> Result<Option<Vec<BoundSocket>>, CliError> {
        let mut group: Vec<Inherited> = self.0.extract_if(.., |socket| socket.address == address).collect();
        if group.is_empty() {
            return Ok(None);
        }
        if group.len() == usize::from(workers) {
            // The manager keeps no order among those that it was asked to keep: their names do. It is that in which the
            // kernel counts them, so that steering goes on as before.
            group.sort_by(|one, other| one.name.cmp(&other.name));
            return Ok(Some(group.into_iter().map(|socket| socket.into_bound(address)).collect()));
        }
        if group.iter().all(|socket| socket.name.starts_with(KEPT)) {
            let_go(group);
            return Ok(None);
        }
        let problem = format!(
            "the service manager passes {} sockets for {address}, but the gateway has {workers} workers",
            group.len()
        );
        Err(CliError::user(problem).hint(
            "list `ListenDatagram` as often as there are workers, with `ReusePort=true`; or set `workers` in the section \
             `[gateway]`",
        ))
    }

    /// Gives back those that no listen address has claimed.
    pub fn give_back(self) {
        if !self.0.is_empty() {
            for Inherited { name, address, .. } in &self.0 {
                tracing::warn!(name, %address, "a socket of the service manager is of no use: no `listen` names its address");
            }
            let_go(self.0);
        }
    }
}

/// Asks the manager to keep these sockets for the next run.
pub fn keep(address: SocketAddr, group: &[BoundSocket]) {
    for (worker, socket) in group.iter().enumerate() {
        let name = name(address, worker);
        // Errors of a single datagram are no reason to drop the socket.
        let state = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
        if let Err(error) = sd_notify::notify_with_fds(&state, &[socket.as_fd()]) {
            tracing::warn!(%error, "the service manager does not keep the sockets: a restart closes them for a moment");
            return;
        }
    }
}

/// Tells the manager that the gateway works.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// Tells the manager that the gateway is about to end.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Closes sockets here and at the manager, and waits until it has done so: their address is free then.
fn let_go(sockets: Vec<Inherited>) {
    let kept = sockets.iter().map(|socket| &socket.name).filter(|name| name.starts_with(KEPT));
    let asked = kept.map(|name| sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]));
    let asked: std::io::Result<Vec<()>> = asked.collect();
    drop(sockets);
    if let Err(error) = asked.and_then(|_| barrier()) {
        tracing::warn!(%error, "the service manager may still keep sockets of an earlier run");
    }
}

/// Waits until the manager has read all that it was told: it closes what came with the last message.
fn barrier() -> std::io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    match ours.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        read => read.map(drop),
    }
}

/// Sorts by worker. The manager allows no colons in it.
fn name(address: SocketAddr, worker: usize) -> String {
    format!("{KEPT}{}-{worker:02}", address.to_string().replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_sockets_have_names_that_the_manager_takes_and_that_sort_by_worker() {
        let names: Vec<String> =
            [0, 2, 10, 63].map(|worker| name("[::]:51820".parse().unwrap(), worker)).into();
        assert!(names.is_sorted(), "{names:?}");
        for name in names.iter().chain([&name("192.0.2.7:51820".parse().unwrap(), 0)]) {
            // fdname_is_valid() of systemd.
            assert!(name.bytes().all(|byte| (b' '..127).contains(&byte) && byte != b':'), "{name}");
        }
    }
}
