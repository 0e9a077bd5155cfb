//! Single addresses that lead into an interface, and change while it stands.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use crate::error::SetupError;
use crate::interface;
use crate::netlink::Netlink;
use crate::route::route;

/// The routes into one interface. They go with the interface, not with this.
#[derive(Debug)]
pub struct HostRoutes {
    netlink: Netlink,
    index: u32,
    present: BTreeSet<IpAddr>,
}

impl HostRoutes {
    /// For an existing interface without routes.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn new(interface: &str) -> Result<Self, SetupError> {
        let netlink = Netlink::route().map_err(SetupError::at("open a netlink socket"))?;
        let index = interface::index(&netlink, interface)?;
        Ok(Self { netlink, index, present: BTreeSet::new() })
    }

    /// Those that lead into the interface now.
    #[must_use]
    pub fn present(&self) -> &BTreeSet<IpAddr> {
        &self.present
    }

    /// Brings the routes in line with `wanted`, and answers what could not be done: each has a /32 or /128 of its own,
    /// so one that fails leaves the others as they should be.
    pub fn set(&mut self, wanted: &BTreeSet<IpAddr>) -> Vec<(IpAddr, SetupError)> {
        let mut failed = Vec::new();
        let obsolete: Vec<IpAddr> = self.present.difference(wanted).copied().collect();
        for address in obsolete {
            match self.remove(address) {
                Ok(()) => {
                    self.present.remove(&address);
                }
                Err(error) => failed.push((address, error)),
            }
        }
        let missing: Vec<IpAddr> = wanted.difference(&self.present).copied().collect();
        for address in missing {
            match self.add(address) {
                Ok(()) => {
                    self.present.insert(address);
                }
                Err(error) => failed.push((address, error)),
            }
        }
        failed
    }

    /// Never in place of a route that is there: it is somebody else's.
    fn add(&mut self, address: IpAddr) -> Result<(), SetupError> {
        let host = IpNet::from(address);
        let message = RouteNetlinkMessage::NewRoute(route(self.index, &host));
        let added = self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL, |_| {});
        added.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::EXIST) => SetupError::RouteConflict {
                wanted: host,
                existing: host,
                via: "another interface".to_owned(),
            },
            _ => SetupError::at(format!("route {address} into the tunnel"))(error),
        })
    }

    fn remove(&mut self, address: IpAddr) -> Result<(), SetupError> {
        let message = RouteNetlinkMessage::DelRoute(route(self.index, &IpNet::from(address)));
        match self.netlink.request(message, 0, |_| {}) {
            // Somebody else has removed it.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(()),
            answer => answer.map_err(SetupError::at(format!("end the route of {address} into the tunnel"))),
        }
    }
}
