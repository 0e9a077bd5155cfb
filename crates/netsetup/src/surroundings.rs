//! What this machine's own networks consist of, as far as a route into a tunnel could harm it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rustix::net::netdevice;

use crate::error::SetupError;
use crate::interface;
use crate::netlink::Netlink;
use crate::route::{destination, in_main_table, out_interface};

/// Addresses with a meaning of their own here, each with the name of its interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The machine's own addresses.
    pub own: BTreeMap<IpAddr, String>,
    /// Routers that some route of the machine goes through.
    pub routers: BTreeMap<IpAddr, String>,
    /// Single hosts that a route of their own leads to.
    pub hosts: BTreeMap<IpAddr, String>,
}

impl Surroundings {
    /// Asks the kernel; needs no rights. What belongs to the interface `except` is left out.
    ///
    /// # Errors
    /// When the kernel does not answer, or has no such interface.
    pub fn look(except: &str) -> Result<Self, SetupError> {
        let mut netlink = Netlink::route().map_err(SetupError::at("open a netlink socket"))?;
        let except = interface::index(&netlink, except)?;
        let mut found = Found::default();
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        netlink
            .request(question, NLM_F_DUMP, |answer| {
                if let RouteNetlinkMessage::NewAddress(message) = answer
                    && message.header.index != except
                {
                    found.address(&message);
                }
            })
            .map_err(SetupError::at("list the addresses"))?;
        let question = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        netlink
            .request(question, NLM_F_DUMP, |answer| {
                if let RouteNetlinkMessage::NewRoute(message) = answer
                    && out_interface(&message) != Some(except)
                {
                    found.route(&message);
                }
            })
            .map_err(SetupError::at("list the routes"))?;
        Ok(found.named(&netlink))
    }
}

/// The same with the numbers of the interfaces.
#[derive(Default)]
struct Found {
    own: Vec<(IpAddr, u32)>,
    routers: Vec<(IpAddr, u32)>,
    hosts: Vec<(IpAddr, u32)>,
}

impl Found {
    fn address(&mut self, message: &AddressMessage) {
        // On a point-to-point link `Address` is the other end.
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(local) => address = Some(*local),
                AddressAttribute::Address(other) => {
                    address.get_or_insert(*other);
                }
                _ => {}
            }
        }
        self.own.extend(address.map(|address| (address, message.header.index)));
    }

    fn route(&mut self, message: &RouteMessage) {
        let interface = out_interface(message).unwrap_or_default();
        self.gateways(&message.attributes, interface);
        if in_main_table(message)
            && let Some(host) =
                destination(message).filter(|range| range.prefix_len() == range.max_prefix_len())
        {
            self.hosts.push((host.addr(), interface));
        }
    }

    fn gateways(&mut self, attributes: &[RouteAttribute], interface: u32) {
        for attribute in attributes {
            match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet(router)) => {
                    self.routers.push(((*router).into(), interface));
                }
                RouteAttribute::Gateway(RouteAddress::Inet6(router)) => {
                    self.routers.push(((*router).into(), interface));
                }
                RouteAttribute::Via(RouteVia::Inet6(router)) => {
                    self.routers.push(((*router).into(), interface))
                }
                RouteAttribute::MultiPath(hops) => {
                    for hop in hops {
                        self.gateways(&hop.attributes, hop.interface_index);
                    }
                }
                _ => {}
            }
        }
    }

    fn named(self, netlink: &Netlink) -> Surroundings {
        let name =
            |index| netdevice::index_to_name(netlink, index).unwrap_or_else(|_| format!("interface {index}"));
        let named = |list: Vec<(IpAddr, u32)>| {
            list.into_iter().map(|(address, index)| (address, name(index))).collect()
        };
        Surroundings { own: named(self.own), routers: named(self.routers), hosts: named(self.hosts) }
    }
}
