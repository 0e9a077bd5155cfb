//! Which egress a site's gateway has.
//!
//! Every end-to-end test holds with each: `VMSGATE_TEST_EGRESS=tun cargo test -p vmsgate-tests` runs them all with the
//! kernel's routing instead of the proxy.

use std::env;

use anyhow::{Result, bail};

use crate::{process::User, topology::Topology};

/// What makes a host a router.
pub const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

const VARIABLE: &str = "VMSGATE_TEST_EGRESS";

/// How allowed packets reach the recording network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// Userspace TCP and ordinary sockets.
    Proxy,
    /// The kernel routes.
    Tun {
        /// Whether servers see the gateway's address.
        masquerade: bool,
    },
}

impl Egress {
    /// What the environment asks for; the proxy, if nothing.
    ///
    /// # Errors
    /// When it asks for something unknown.
    pub fn asked_for() -> Result<Self> {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("proxy") => Ok(Self::Proxy),
            Ok("tun") => Ok(Self::Tun { masquerade: true }),
            Ok(other) => bail!("{VARIABLE} is `{other}`: write `proxy` or `tun`"),
        }
    }

    /// Who the gateway starts as.
    #[must_use]
    pub fn user(self) -> User {
        match self {
            Self::Proxy => User::Gateway,
            Self::Tun { .. } => User::GatewayNetAdmin,
        }
    }

    /// The lines of `[gateway]`. Two workers also on a machine with one core, so that what lands with the wrong one is
    /// always a case.
    pub(super) fn configuration(self) -> String {
        let egress = match self {
            Self::Proxy => "egress = \"proxy\"".to_owned(),
            Self::Tun { masquerade } => format!("egress = \"tun\"\nmasquerade = {masquerade}"),
        };
        format!("{egress}\nworkers = 2")
    }

    /// Makes the gateway's host a router, and without masquerade lets the servers find the way back.
    pub(super) fn prepare(self, topology: &Topology) -> Result<()> {
        let Self::Tun { masquerade } = self else { return Ok(()) };
        for key in FORWARDING {
            topology.gateway.sysctl(key, "1")?;
        }
        if !masquerade {
            topology
                .recording
                .ip("route add 10.99.0.0/16 via 192.168.10.1\nroute add fd00:99::/64 via fd10:10::1")?;
        }
        Ok(())
    }
}
