//! The never-expose list against everything that a role opens.

use super::servers::WrittenServer;
use super::services::KnownService;
use crate::catalogue::{NEVER_EXPOSE, NeverExpose};
use crate::file::diagnostics::{Diagnostics, Place};
use crate::ports::ProtocolPorts;

/// Never-expose entries that one finding names; the rest are counted.
const MOST_NAMED: usize = 3;

/// A service that a role opens on a server.
pub(super) struct Opening<'a> {
    /// The role, if the file defines it; the built-in ones open whatever the service is made of.
    pub(super) role: Option<&'a str>,
    pub(super) server: &'a WrittenServer,
    pub(super) known: &'a KnownService,
}

/// Refuses an opening with a never-expose port, unless the server lists the port under `expose-anyway` or the
/// catalogue has it as part of the service.
pub(super) fn check(opening: &Opening<'_>, place: &Place, out: &mut Diagnostics) {
    if opening.known.exposes.is_some() {
        return;
    }
    let forbidden: Vec<(ProtocolPorts, &NeverExpose)> = opening.forbidden().collect();
    let Some((first, entry)) = forbidden.first() else { return };
    let mut list: Vec<String> =
        forbidden.iter().take(MOST_NAMED).map(|(ports, entry)| format!("{ports} ({})", entry.name)).collect();
    if forbidden.len() > MOST_NAMED {
        list.push(format!("{} more", forbidden.len() - MOST_NAMED));
    }
    let Opening { role, server, known } = opening;
    let service = &known.service.name;
    let opener = match role {
        Some(role) => format!("role `{role}`, through service `{service}`,"),
        None => format!("service `{service}`, which built-in roles allow,"),
    };
    out.error(
        place,
        format!(
            "{opener} opens {} on server `{}`, which no client may reach: {}",
            list.join(", "),
            server.name,
            entry.reason,
        ),
        format!(
            "take the port out of the service, or add to server `{}`: expose-anyway = [{{ port = \"{first}\", reason = \
             \"…\" }}]",
            server.name,
        ),
    );
}

impl Opening<'_> {
    /// The parts of the service's ports that are on the list and that the server does not except.
    fn forbidden(&self) -> impl Iterator<Item = (ProtocolPorts, &'static NeverExpose)> {
        let overlaps = self.known.service.ports.iter().flat_map(|opened| {
            let matching = NEVER_EXPOSE.iter().filter(|entry| entry.ports.protocol == opened.protocol);
            matching.filter_map(|entry| {
                let ports = entry.ports.ports.intersection(opened.ports)?;
                Some((ProtocolPorts { protocol: opened.protocol, ports }, entry))
            })
        });
        overlaps.filter(|(overlap, _)| {
            let excepted = |ports: ProtocolPorts| {
                ports.protocol == overlap.protocol && ports.ports.covers(overlap.ports)
            };
            !self.server.expose_anyway.iter().any(|exposure| excepted(exposure.ports))
        })
    }
}
