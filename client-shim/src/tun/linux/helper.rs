//! The process that keeps the routes: of all rights it has `CAP_NET_ADMIN`, and it touches no packet.
//!
//! It reads wishes and writes outcomes, a line of JSON each, and ends with its input. It is the one that decides what
//! may be routed: single addresses, none that this machine's own network needs. It looks again whenever the machine's
//! addresses or routes change.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
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
use crate::report::ErrorReport;
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
        let surroundings = Surroundings::look(self.interface)?;
        let mut outcome = Outcome { number: self.wish.number, ..Outcome::default() };
        let mut wanted = BTreeSet::new();
        for address in &self.wish.addresses {
            match objection(*address, &surroundings) {
                Some(error) => {
                    outcome.refused.insert(*address, error);
                }
                None => {
                    wanted.insert(*address);
                }
            }
        }
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

/// Why an address must not lead into the tunnel.
fn objection(address: IpAddr, surroundings: &Surroundings) -> Option<ErrorReport> {
    let why = if !is_host(address) {
        format!("{address} is not the address of a single host")
    } else if let Some(interface) = surroundings.own.get(&address) {
        format!("{address} is this machine's own address, on {interface}")
    } else if let Some(interface) = surroundings.routers.get(&address) {
        format!("{address} is the router of the network that this machine is in, on {interface}")
    } else if let Some(interface) = surroundings.hosts.get(&address) {
        format!("{address} is already routed to {interface} by something else on this machine")
    } else {
        return None;
    };
    Some(ErrorReport {
        message: format!("{why}, so that server is not reached"),
        hint: "reach that server with --mode loopback or --mode socks, or from another network".to_owned(),
    })
}

fn unroutable(address: IpAddr, error: &SetupError) -> ErrorReport {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ErrorReport {
        message: format!("{address} cannot be routed: {error}{cause}"),
        hint: "reach that server with --mode loopback or --mode socks".to_owned(),
    }
}

/// Whether a route to it can lead to one machine elsewhere.
fn is_host(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => {
            v4.is_broadcast() || v4.is_link_local() || v4.octets()[0] == 0 || v4.octets()[0] >= 240
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(special || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_the_machines_own_network_needs_stays_where_it_is() {
        let named = |address: &str, name: &str| BTreeMap::from([(address.parse().unwrap(), name.to_owned())]);
        let home = Surroundings {
            own: named("192.168.1.50", "wlan0"),
            routers: named("192.168.1.1", "wlan0"),
            hosts: named("192.168.1.9", "tun7"),
        };
        let of = |address: &str| objection(address.parse().unwrap(), &home).map(|error| error.message);
        assert_eq!(of("192.168.1.20"), None);
        assert_eq!(
            of("192.168.1.50").unwrap(),
            "192.168.1.50 is this machine's own address, on wlan0, so that server is not reached"
        );
        assert!(of("192.168.1.1").unwrap().contains("is the router of the network that this machine is in"));
        assert!(of("192.168.1.9").unwrap().contains("is already routed to tun7"));
    }

    #[test]
    fn only_single_hosts_are_routed() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(!is_host(bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.0.0.1", "192.168.10.10", "8.8.8.8", "fd00::1", "2001:db8::1"] {
            assert!(is_host(good.parse().unwrap()), "{good}");
        }
    }
}
