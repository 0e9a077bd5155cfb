//! Windows: an interface of Wintun, made by an administrator, and the thread that changes its routes.
//!
//! Wintun is a driver that others sign and keep (wintun.net); its library lies beside this program. Whatever is set here
//! belongs to the interface and is gone with it, but for the rules of names: those go at the end, or with Windows.

mod netsh;
mod routes;

use std::env;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use thiserror::Error;
use vmsgate_windows::{Wintun, is_administrator};

use self::netsh::NetshError;
use super::keeper::Parts;
use crate::profile::Profile;
use crate::tunnel::Device;

pub(super) use routes::Routes;

const LIBRARY: &str = "wintun.dll";

/// Why there is no interface.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("--mode tun needs the rights of an administrator")]
    NotAdministrator,
    #[error("--mode tun needs Wintun, and there is no {}", .0.display())]
    NoLibrary(PathBuf),
    #[error("Wintun makes no interface {name}")]
    Wintun {
        name: String,
        #[source]
        error: io::Error,
    },
    #[error("the interface {name} takes no address")]
    Address {
        name: String,
        #[source]
        error: NetshError,
    },
    #[error("cannot start the thread that keeps the routes")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// What the user can do; `command` is how the program was called.
    #[must_use]
    pub fn hint(&self, command: &str) -> String {
        let without = "--mode loopback and --mode socks need nothing";
        match self {
            Self::NotAdministrator => {
                format!(
                    "open a command prompt with \"Run as administrator\", and there `{command}`; {without}"
                )
            }
            Self::NoLibrary(_) => format!(
                "take wintun.dll of this processor (amd64) from https://www.wintun.net, put it beside this program; {without}"
            ),
            Self::Wintun { .. } => {
                format!(
                    "is it the wintun.dll of this processor (amd64) from https://www.wintun.net? {without}"
                )
            }
            Self::Address { .. } | Self::Thread(_) => format!("see Windows' event log; {without}"),
        }
    }
}

/// The interface, and the thread that keeps its routes. Both end with this process, however it ends.
#[derive(Debug)]
pub struct Adapter {
    /// What the interface is called.
    pub name: String,
    /// Of the tunnel, those whose family this machine has.
    pub addresses: Vec<IpAddr>,
    pub mtu: u16,
    wintun: Wintun,
    routes: Routes,
}

impl Adapter {
    /// Makes the interface and starts the thread that keeps the routes.
    ///
    /// # Errors
    /// When something that is needed is missing, or Windows refuses. Nothing is left behind.
    pub fn open(profile: &Profile, interface: Option<&str>) -> Result<Self, OpenError> {
        if !is_administrator() {
            return Err(OpenError::NotAdministrator);
        }
        let library = env::current_exe().unwrap_or_default().with_file_name(LIBRARY);
        if !library.is_file() {
            return Err(OpenError::NoLibrary(library));
        }
        let name = interface.map_or_else(|| format!("vmsgate-{}", profile.name), ToOwned::to_owned);
        let identifier = identifier(&name);
        let wintun = Wintun::create(&library, &name, identifier)
            .map_err(|error| OpenError::Wintun { name: name.clone(), error })?;
        let addresses = netsh::bring_up(&name, profile.mtu, &profile.addresses)
            .map_err(|error| OpenError::Address { name: name.clone(), error })?;
        let routes = Routes::start(name.clone(), identifier).map_err(OpenError::Thread)?;
        Ok(Self { name, addresses, mtu: profile.mtu, wintun, routes })
    }

    /// Takes it over within a tokio runtime.
    #[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
    pub(super) fn into_parts(self) -> io::Result<Parts> {
        let Self { name, addresses, mtu, wintun, routes } = self;
        Ok(Parts { name, addresses, mtu, device: Device::new(wintun), routes })
    }
}

/// The same for an interface of the same name, so that Windows takes it for one network each time, and that what a
/// killed shim left behind is found.
fn identifier(name: &str) -> u128 {
    let hash = Sha256::new().chain_update("vmsgate interface ").chain_update(name).finalize();
    hash.iter().take(16).fold(0, |identifier, byte| identifier << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_told_apart_and_known_again() {
        assert_eq!(identifier("vmsgate-alice"), identifier("vmsgate-alice"));
        assert_ne!(identifier("vmsgate-alice"), identifier("vmsgate-bob"));
    }
}
