//! `[gateway]`: the gateway's name, addresses and ranges.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::address::{Endpoint, IpRange};
use crate::file::diagnostics::{At, Diagnostics};
use crate::file::document::NAME_HINT;
use crate::file::keys::gateway as key;
use crate::file::section::SectionValues;
use crate::names::is_name;
use crate::profile::MAX_CONTACT_CHARS;
use crate::resolved::{Egress, Gateway, OnDenied, Tun};

/// A range with room for the gateway and one client.
const SMALLEST_RANGE_BITS: u8 = 2;

/// `[gateway]` with the places of what is compared with other sections.
#[derive(Debug)]
pub(super) struct WrittenGateway {
    pub(super) listen: Vec<At<SocketAddr>>,
    pub(super) tunnel: Vec<At<IpNet>>,
    name: String,
    endpoints: Vec<Endpoint>,
    contact: Option<String>,
    data: PathBuf,
    pub(super) egress: Egress,
    workers: u8,
    mtu: u16,
    on_denied: OnDenied,
}

pub(super) fn read(section: &SectionValues, out: &mut Diagnostics) -> WrittenGateway {
    let name = section.text(&key::NAME, out);
    if let Some(name) = name.as_ref().filter(|name| !is_name(&name.value)) {
        out.error(&name.place, format!("`{}` cannot name a gateway", name.value), NAME_HINT);
    }
    WrittenGateway {
        name: name.map(|name| name.value).unwrap_or_default(),
        listen: listen(section, out),
        endpoints: endpoints(section, out),
        contact: contact(section, out),
        tunnel: tunnel(section, out),
        data: section.text(&key::DATA, out).map(|data| data.value.into()).unwrap_or_default(),
        egress: egress(section, out),
        workers: section.count(&key::WORKERS, out),
        mtu: section.count(&key::MTU, out),
        on_denied: on_denied(section, out),
    }
}

impl WrittenGateway {
    pub(super) fn resolve(self) -> Gateway {
        let values = |items: Vec<At<SocketAddr>>| items.into_iter().map(|item| item.value).collect();
        Gateway {
            name: self.name,
            listen: values(self.listen),
            endpoints: self.endpoints,
            contact: self.contact,
            tunnel: self.tunnel.into_iter().map(|range| range.value).collect(),
            data: self.data,
            egress: self.egress,
            workers: self.workers,
            mtu: self.mtu,
            on_denied: self.on_denied,
        }
    }
}

/// Whom people ask: it ends up on their terminals and in a datagram of bounded length.
fn contact(section: &SectionValues, out: &mut Diagnostics) -> Option<String> {
    let contact = section.text(&key::CONTACT, out)?;
    let length = contact.value.chars().count();
    if length == 0 || length > MAX_CONTACT_CHARS || contact.value.chars().any(char::is_control) {
        let message = format!("`contact` is not one line of 1 to {MAX_CONTACT_CHARS} characters");
        out.error(
            &contact.place,
            message,
            "write whom to call, for example \"VMS operations, +45 12 34 56 78\"",
        );
        return None;
    }
    Some(contact.value)
}

fn listen(section: &SectionValues, out: &mut Diagnostics) -> Vec<At<SocketAddr>> {
    let mut kept: Vec<At<SocketAddr>> = Vec::new();
    for address in section.parsed(&key::LISTEN, super::settings::socket_address, out) {
        if address.value.port() == 0 {
            out.warning(
                &address.place,
                format!("listen address `{}` has no fixed port", address.value),
                "clients cannot know a port that changes at every start: use 51820",
            );
        }
        match kept.iter().find(|other| collides(other.value, address.value)) {
            Some(other) if other.value == address.value => {
                out.error(
                    &address.place,
                    format!("listen address `{}` is listed twice", address.value),
                    "remove one",
                );
            }
            Some(other) => out.error(
                &address.place,
                format!("listen address `{}` is part of `{}`", address.value, other.value),
                "remove one of the two",
            ),
            None => kept.push(address),
        }
    }
    // A socket on `[::]` takes IPv4 as well, so the same port on `0.0.0.0` asks for nothing more.
    let dual: Vec<u16> =
        kept.iter().filter(|one| is_wildcard_v6(one.value)).map(|one| one.value.port()).collect();
    kept.retain(|one| !(one.value.ip() == Ipv4Addr::UNSPECIFIED && dual.contains(&one.value.port())));
    kept
}

/// Whether both cannot be listened on at once. `0.0.0.0` beside `[::]` can: they are merged.
fn collides(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && (a == b
            || wildcard && a.is_ipv4() == b.is_ipv4()
            || is_wildcard_v6(a) && b.is_ipv4() && !b.ip().is_unspecified()
            || is_wildcard_v6(b) && a.is_ipv4() && !a.ip().is_unspecified())
}

fn is_wildcard_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn endpoints(section: &SectionValues, out: &mut Diagnostics) -> Vec<Endpoint> {
    let endpoints = section.parsed(&key::ENDPOINT, str::parse::<Endpoint>, out);
    for endpoint in &endpoints {
        let unspecified = endpoint.value.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        if unspecified {
            out.error(
                &endpoint.place,
                format!("endpoint `{}` is no address that a client can connect to", endpoint.value),
                "write the gateway's public host name or address",
            );
        }
    }
    endpoints.into_iter().map(|endpoint| endpoint.value).collect()
}

fn tunnel(section: &SectionValues, out: &mut Diagnostics) -> Vec<At<IpNet>> {
    let mut kept: Vec<At<IpNet>> = Vec::new();
    for range in section.parsed(&key::TUNNEL, network, out) {
        let (net, place) = (range.value, &range.place);
        if net.addr() != net.network() {
            let hint = format!("write `{}`", net.trunc());
            out.error(place, format!("tunnel range `{net}` begins inside its own network"), hint);
        } else if net.max_prefix_len() - net.prefix_len() < SMALLEST_RANGE_BITS {
            let smallest = net.max_prefix_len() - SMALLEST_RANGE_BITS;
            let hint = format!("use a prefix of /{smallest} or shorter: every client takes one address");
            out.error(place, format!("tunnel range `{net}` is too small"), hint);
        } else if is_special(net) {
            out.error(
                place,
                format!(
                    "tunnel range `{net}` has loopback, multicast, link-local or unspecified addresses in it"
                ),
                "use a private range such as 10.99.0.0/16 or fd00:99::/64",
            );
        } else if let Some(other) = kept.iter().find(|other| IpRange::from(other.value).overlaps(&net.into()))
        {
            out.error(
                place,
                format!("tunnel range `{net}` overlaps `{}`", other.value),
                "remove one of the two",
            );
        } else if let Some(other) = kept.iter().find(|other| is_v4(other.value) == is_v4(net)) {
            let family = if is_v4(net) { "IPv4" } else { "IPv6" };
            out.error(
                place,
                format!("tunnel range `{net}` is a second {family} range beside `{}`", other.value),
                format!("use one {family} range that is large enough"),
            );
        } else {
            if !is_private(net) {
                out.warning(
                    place,
                    format!(
                        "tunnel range `{net}` is not private: clients cannot reach its owners on the internet"
                    ),
                    "use a private range such as 10.99.0.0/16 or fd00:99::/64",
                );
            }
            kept.push(range);
        }
    }
    kept
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| format!("`{text}` is not a range in CIDR form"))
}

fn is_v4(net: IpNet) -> bool {
    net.addr().is_ipv4()
}

fn is_special(net: IpNet) -> bool {
    const SPECIAL: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    ];
    any_of(&SPECIAL, |special| IpRange::from(special).overlaps(&net.into()))
}

fn is_private(net: IpNet) -> bool {
    // RFC 1918, RFC 6598 (carrier-grade NAT), RFC 4193, and the documentation ranges that tests and demos use.
    const PRIVATE: [&str; 9] = [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
    ];
    any_of(&PRIVATE, |private| private.contains(&net))
}

fn any_of(ranges: &[&str], holds: impl Fn(IpNet) -> bool) -> bool {
    ranges.iter().filter_map(|range| range.parse().ok()).any(holds)
}

fn egress(section: &SectionValues, out: &mut Diagnostics) -> Egress {
    let tun = Tun { interface: interface(section, out), masquerade: section.flag(&key::MASQUERADE, out) };
    let written = section.text(&key::EGRESS, out);
    match written.as_ref().map(|egress| egress.value.as_str()) {
        Some("tun") => return Egress::Tun(tun),
        None | Some("proxy") => {}
        Some(other) => {
            let place = section.place_of(&key::EGRESS);
            out.error(&place, format!("unknown egress `{other}`"), "write `egress = \"proxy\"` or `\"tun\"`");
            return Egress::Proxy;
        }
    }
    for key in [&key::INTERFACE, &key::MASQUERADE].into_iter().filter(|key| section.has(key)) {
        out.warning(
            &section.place_of(key),
            format!("`{}` has no effect with egress `proxy`", key.name),
            "remove it, or write `egress = \"tun\"`",
        );
    }
    Egress::Proxy
}

/// Linux: at most 15 bytes, and no path.
fn interface(section: &SectionValues, out: &mut Diagnostics) -> String {
    let Some(name) = section.text(&key::INTERFACE, out) else { return String::new() };
    if name.value.len() > 15 || !is_name(&name.value) {
        out.error(
            &name.place,
            format!("`{}` cannot name a network interface", name.value),
            "use up to 15 letters, digits, `-` and `_`, such as `vmsgate0`",
        );
    }
    name.value
}

fn on_denied(section: &SectionValues, out: &mut Diagnostics) -> OnDenied {
    let choices = [("reject", OnDenied::Reject), ("drop", OnDenied::Drop)];
    section.choice(&key::ON_DENIED, choices, out).unwrap_or(OnDenied::Reject)
}
