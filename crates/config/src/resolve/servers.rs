//! `[[server]]`: the machines of the recording network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::services::KnownService;
use crate::catalogue::{Encryption, NEVER_EXPOSE};
use crate::file::diagnostics::{At, Diagnostics, Place};
use crate::file::document::NAME_HINT;
use crate::file::keys::{exposure, server as key};
use crate::file::section::SectionValues;
use crate::names::{is_host_name, is_name, nearest};
use crate::ports::ProtocolPorts;
use crate::resolved::{Dns, Exposure, Server};

/// A server with the places of what is compared with other sections.
#[derive(Debug)]
pub(super) struct WrittenServer {
    pub(super) name: String,
    pub(super) addresses: Vec<At<IpAddr>>,
    pub(super) services: Vec<String>,
    pub(super) expose_anyway: Vec<Exposure>,
    host_names: Vec<String>,
}

pub(super) fn read(
    sections: &[SectionValues],
    services: &BTreeMap<String, KnownService>,
    out: &mut Diagnostics,
) -> Vec<WrittenServer> {
    let mut taken = Taken::default();
    let servers: Vec<_> = sections.iter().map(|section| server(section, services, &mut taken, out)).collect();
    if servers.is_empty() {
        out.warning(
            &Place::File,
            "there is no [[server]]: clients reach nothing",
            "add one per machine of the VMS",
        );
    }
    servers
}

impl WrittenServer {
    pub(super) fn resolve(self, dns: &Dns, services: &BTreeMap<String, KnownService>) -> Server {
        let mut expose_anyway = self.expose_anyway;
        for known in self.services.iter().filter_map(|name| services.get(name)) {
            expose_anyway.extend(known.exposures());
        }
        let suffixed = |name: &String| {
            let suffix = dns.suffix.as_ref().filter(|_| !name.contains('.'))?;
            Some(format!("{name}.{suffix}"))
        };
        let mut names = Vec::new();
        for name in &self.host_names {
            for name in std::iter::once(name.clone()).chain(suffixed(name)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Server {
            name: self.name,
            addresses: self.addresses.into_iter().map(|address| address.value).collect(),
            names,
            services: self.services,
            expose_anyway,
        }
    }
}

/// What earlier servers have, and which of them has it.
#[derive(Default)]
struct Taken {
    names: BTreeSet<String>,
    host_names: HashMap<String, String>,
    addresses: HashMap<IpAddr, String>,
}

fn server(
    section: &SectionValues,
    services: &BTreeMap<String, KnownService>,
    taken: &mut Taken,
    out: &mut Diagnostics,
) -> WrittenServer {
    let name = name(section, taken, out);
    let addresses = addresses(section, &name, taken, out);
    let host_names = host_names(section, &name, taken, out);
    let services = used_services(section, &name, services, out);
    let expose_anyway = exposures(section, out);
    WrittenServer { name, addresses, services, expose_anyway, host_names }
}

fn name(section: &SectionValues, taken: &mut Taken, out: &mut Diagnostics) -> String {
    let Some(name) = section.text(&key::NAME, out) else { return String::new() };
    if !is_name(&name.value) {
        out.error(&name.place, format!("`{}` cannot name a server", name.value), NAME_HINT);
    } else if !taken.names.insert(name.value.clone()) {
        let hint = "give each [[server]] a name of its own, or merge the two";
        out.error(&name.place, format!("there are two servers named `{}`", name.value), hint);
    }
    name.value
}

fn addresses(
    section: &SectionValues,
    server: &str,
    taken: &mut Taken,
    out: &mut Diagnostics,
) -> Vec<At<IpAddr>> {
    let parse = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"));
    let mut addresses: Vec<At<IpAddr>> = Vec::new();
    for address in section.parsed(&key::ADDRESS, parse, out) {
        let (ip, place) = (address.value, &address.place);
        if let Some(problem) = not_a_server(ip) {
            let hint = "write the server's own address on the recording network";
            out.error(place, format!("address `{ip}` of server `{server}` {problem}"), hint);
            continue;
        }
        if ip.is_loopback() {
            out.warning(
                place,
                format!("address `{ip}` of server `{server}` is the gateway host itself"),
                "services of the gateway host should not be reachable for clients",
            );
        }
        match taken.addresses.insert(ip, server.to_owned()) {
            None => addresses.push(address),
            Some(other) if other == server => {
                out.error(
                    place,
                    format!("address `{ip}` of server `{server}` is listed twice"),
                    "remove one",
                );
            }
            Some(other) => out.error(
                place,
                format!("servers `{other}` and `{server}` have the same address `{ip}`"),
                "one machine is one [[server]]: list the services of both under it",
            ),
        }
    }
    addresses
}

fn not_a_server(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address written as IPv6"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("is link-local and means nothing without an interface")
        }
        _ if ip.is_unspecified() => Some("is unspecified"),
        _ if ip.is_multicast() => Some("is a multicast address"),
        _ => None,
    }
}

fn host_names(
    section: &SectionValues,
    server: &str,
    taken: &mut Taken,
    out: &mut Diagnostics,
) -> Vec<String> {
    let mut names: Vec<At<String>> = section.texts(&key::HOSTNAMES, out);
    names.retain(|name| {
        let valid = is_host_name(&name.value);
        if !valid {
            let hint = "host names have letters, digits, `-` and `_`, in parts separated by dots";
            out.error(&name.place, format!("`{}` is not a host name", name.value), hint);
        }
        valid
    });
    if is_host_name(server) {
        names.insert(0, At::new(server.to_owned(), section.place_of(&key::NAME)));
    }
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        let lower = name.value.to_ascii_lowercase();
        match taken.host_names.get(&lower) {
            Some(other) if other != server => {
                let message = format!("servers `{other}` and `{server}` have the same host name `{lower}`");
                out.error(&name.place, message, "a name leads to one server: remove one");
            }
            Some(_) => {}
            None => {
                taken.host_names.insert(lower.clone(), server.to_owned());
                kept.push(lower);
            }
        }
    }
    kept
}

fn used_services(
    section: &SectionValues,
    server: &str,
    services: &BTreeMap<String, KnownService>,
    out: &mut Diagnostics,
) -> Vec<String> {
    let (mut used, errors) = (Vec::<String>::new(), out.errors());
    for name in section.texts(&key::SERVICES, out) {
        let Some(known) = services.get(&name.value) else {
            let message = format!("server `{server}` has unknown service `{}`", name.value);
            out.error(&name.place, message, unknown_service_hint(&name.value, services));
            continue;
        };
        if used.contains(&name.value) {
            let message = format!("server `{server}` has service `{}` twice", name.value);
            out.warning(&name.place, message, "remove one");
            continue;
        }
        if known.service.encryption == Encryption::Plain {
            out.warning(
                &name.place,
                format!("service `{}` of server `{server}` is not encrypted beyond the gateway", name.value),
                "the tunnel protects it as far as the gateway; trust the network from there on, or use another service",
            );
        }
        used.push(name.value);
    }
    if used.is_empty() && out.errors() == errors {
        let message = format!("server `{server}` has no service: no client reaches it");
        out.warning(&section.place, message, "add `services = [\"recording-server\"]` or the like");
    }
    used
}

pub(super) fn unknown_service_hint(name: &str, services: &BTreeMap<String, KnownService>) -> String {
    match nearest(name, services.keys().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("define it with `[service.{name}]`, or see the catalogue in docs/configuration.md"),
    }
}

fn exposures(section: &SectionValues, out: &mut Diagnostics) -> Vec<Exposure> {
    let mut exposures = Vec::new();
    for entry in section.tables(&key::EXPOSE_ANYWAY, &exposure::SECTION, out) {
        let ports = entry.parsed(&exposure::PORT, str::parse::<ProtocolPorts>, out);
        let reason = entry.text(&exposure::REASON, out);
        if let Some(reason) = reason.as_ref().filter(|reason| reason.value.trim().is_empty()) {
            out.error(
                &reason.place,
                "`reason` in `expose-anyway` is empty",
                "say why clients must reach the port",
            );
        }
        for ports in ports {
            if !NEVER_EXPOSE.iter().any(|never| never.ports.intersects(ports.value)) {
                let message = format!("`{}` in `expose-anyway` is not on the never-expose list", ports.value);
                out.warning(
                    &ports.place,
                    message,
                    "remove it: a role that allows the service opens the port already",
                );
            }
            let reason = reason.as_ref().map(|reason| reason.value.clone()).unwrap_or_default();
            exposures.push(Exposure { ports: ports.value, reason });
        }
    }
    exposures
}
