//! The tunnel ranges as routes into the interface.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rustix::net::netdevice;

use crate::error::SetupError;
use crate::interface::family;
use crate::netlink::Netlink;

/// Routes that lead from one of the ranges, or from a part of it, to somewhere else.
///
/// A part is a conflict too: a client whose address is in it would never get an answer.
pub(crate) fn check(netlink: &mut Netlink, index: u32, wanted: &[IpNet]) -> Result<(), SetupError> {
    for range in wanted {
        let Some((existing, via)) = find_conflict(netlink, index, range)? else { continue };
        let via = via.map_or("no interface of its own".to_owned(), |via| {
            netdevice::index_to_name(&*netlink, via)
                .map_or_else(|_| format!("interface {via}"), |name| format!("`{name}`"))
        });
        return Err(SetupError::RouteConflict { wanted: *range, existing, via });
    }
    Ok(())
}

/// Makes the routes; [`check`] comes first.
pub(crate) fn add(netlink: &mut Netlink, index: u32, ranges: &[IpNet]) -> Result<(), SetupError> {
    for range in ranges {
        let message = route(index, range);
        netlink
            .request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE, |_| {})
            .map_err(SetupError::at(format!("route {range} to clients")))?;
    }
    Ok(())
}

fn find_conflict(
    netlink: &mut Netlink,
    index: u32,
    range: &IpNet,
) -> Result<Option<(IpNet, Option<u32>)>, SetupError> {
    let mut question = RouteMessage::default();
    question.header.address_family = family(range.addr());
    let mut conflict = None;
    netlink
        .request(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP, |answer| {
            let RouteNetlinkMessage::NewRoute(route) = answer else { return };
            let Some(existing) = destination(&route) else { return };
            let via = out_interface(&route);
            if in_main_table(&route) && range.contains(&existing) && via != Some(index) {
                conflict.get_or_insert((existing, via));
            }
        })
        .map_err(SetupError::at("list the routes"))?;
    Ok(conflict)
}

pub(crate) fn route(index: u32, range: &IpNet) -> RouteMessage {
    let range = range.trunc();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(range.addr()),
        destination_prefix_length: range.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        // IPv6 knows no scopes of routes; in IPv4 "link" says that there is no next hop.
        scope: if range.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Destination(range.addr().into()), RouteAttribute::Oif(index)];
    message
}

/// Where the route leads; nothing for the default route.
pub(crate) fn destination(route: &RouteMessage) -> Option<IpNet> {
    let address: IpAddr = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    })?;
    IpNet::new(address, route.header.destination_prefix_length).ok()
}

pub(crate) fn out_interface(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// The `local` table holds the machine's own addresses, and other tables need rules of their own.
pub(crate) fn in_main_table(route: &RouteMessage) -> bool {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    table.unwrap_or(route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
}
