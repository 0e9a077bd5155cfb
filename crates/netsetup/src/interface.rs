//! The interface itself: found by name, configured, given its addresses.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::netdevice;

use crate::error::SetupError;
use crate::netlink::Netlink;
use crate::plan::Plan;

/// The number by which the kernel knows the interface.
pub(crate) fn index(netlink: &Netlink, name: &str) -> Result<u32, SetupError> {
    netdevice::name_to_index(netlink, name).map_err(|errno| match errno {
        Errno::NODEV => SetupError::InterfaceMissing { interface: name.to_owned() },
        errno => SetupError::at(format!("find the interface `{name}`"))(errno.into()),
    })
}

/// MTU, addresses, up.
pub(crate) fn configure(netlink: &mut Netlink, index: u32, plan: &Plan) -> Result<(), SetupError> {
    let name = &plan.interface;
    match set_link(netlink, index, no_link_local(), false) {
        // The kernel has no IPv6 on this interface, so there is nothing to switch off.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) && !plan.has_ipv6() => Ok(()),
        answer => answer.map_err(SetupError::at(format!("switch off autoconfiguration of `{name}`"))),
    }?;
    set_link(netlink, index, LinkAttribute::Mtu(plan.mtu), true)
        .map_err(SetupError::at(format!("set the MTU of `{name}` to {} and bring it up", plan.mtu)))?;
    for address in &plan.addresses {
        add_address(netlink, index, address)
            .map_err(SetupError::at(format!("give `{name}` the address {}", address.addr())))?;
    }
    Ok(())
}

/// Without it the kernel would make up a link-local address and solicit routers from it.
fn no_link_local() -> LinkAttribute {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])
}

fn set_link(netlink: &mut Netlink, index: u32, attribute: LinkAttribute, up: bool) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    message.attributes = vec![attribute];
    netlink.request(RouteNetlinkMessage::SetLink(message), 0, |_| {})
}

fn add_address(netlink: &mut Netlink, index: u32, network: &IpNet) -> io::Result<()> {
    let address = network.addr();
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = network.max_prefix_len();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        // Nobody on the other side would answer duplicate address detection; the address works at once.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    netlink.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE, |_| {})
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
