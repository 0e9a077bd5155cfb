//! The process that keeps the routes: of all rights it has `CAP_NET_ADMIN`, and it touches no packet.
//!
//! It reads wishes and writes outcomes, a line of JSON each, and ends with its input. It is the one that decides what
//! may be routed: single addresses, none that this machine's own network needs. It looks again whenever the machine's
//! addresses or routes change.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use thiserror::Error;
use vmsgate_netsetup::{
    CapabilityError, Changes, HostRoutes, SetupError, Surroundings, drop_all_but_net_admin,
};

use super::resolver::Resolver;
use crate::tun::objection::{Around, sort, unroutable};
use crate::tun::wish::{Outcome, Wish};

/// Room for every server that a site may have, with all its addresses and names.
const MAX_WISH_BYTES: usize = 32 << 20;
/// Changes come in swarms: a network that comes up changes a dozen things.
const SETTLE: Duration = Duration::from_millis(100);

/// Why it ended early.
#[derive(Debug, Error)]
pub enum HelperError {
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the process that was to be helped is not understood")]
    Wish(#[from] serde_json::Error),
    #[error("the process that was to be helped cannot be heard")]
    Io(#[from] io::Error),
}

/// Keeps the routes of `interface` as standard input wishes, until it ends.
///
/// # Errors
/// When the interface is gone, or a wish is none.
pub fn keep_routes(interface: &str) -> Result<(), HelperError> {
    drop_all_but_net_admin()?;
    let changes = Changes::listen()?;
    let mut state = State {
        interface,
        routes: HostRoutes::new(interface)?,
        resolver: Resolver::new(interface),
        wish: Wish::default(),
        told: None,
    };
    // A descriptor of its own: standard input has a buffer, whose contents could not be waited for.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut pending = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let (asked, changed) = {
            let mut ready = [PollFd::new(&input, PollFlags::IN), PollFd::new(&changes, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
        };
        if asked {
            let length = input.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            pending.extend_from_slice(piece.get(..length).unwrap_or_default());
            if let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = pending.drain(..=end).collect();
                // The last one replaces those before.
                if let Some(line) = lines.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty()) {
                    state.wish = serde_json::from_slice(line)?;
                    state.comply()?;
                }
            } else if pending.len() > MAX_WISH_BYTES {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
        } else if changed {
            thread::sleep(SETTLE);
            changes.drain()?;
            state.comply()?;
        }
    }
}

struct State<'i> {
    interface: &'i str,
    routes: HostRoutes,
    resolver: Resolver<'i>,
    wish: Wish,
    told: Option<Outcome>,
}

impl State<'_> {
    /// Does what is wished, as far as the machine's surroundings allow, and tells if something is new.
    fn comply(&mut self) -> Result<(), HelperError> {
        let Surroundings { own, routers, hosts } = Surroundings::look(self.interface)?;
        let around = Around { own: &own, routers: &routers, hosts: &hosts };
        let (wanted, refused) = sort(&self.wish.addresses, around);
        let mut outcome = Outcome { number: self.wish.number, refused, ..Outcome::default() };
        for (address, error) in self.routes.set(&wanted) {
            outcome.refused.insert(address, unroutable(address, &error));
        }
        outcome.routed = self.routes.present().clone();
        outcome.names = self.resolver.ask_for(self.wish.names.as_ref());
        if self.told.as_ref() != Some(&outcome) {
            let mut line = serde_json::to_vec(&outcome)?;
            line.push(b'\n');
            let mut output = io::stdout().lock();
            output.write_all(&line)?;
            output.flush()?;
            self.told = Some(outcome);
        }
        Ok(())
    }
}
