//! What shall be routed and which names the gateway shall answer: from what it told, before this machine is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::wish::{Names, Wish};
use crate::report::ErrorReport;
use crate::site::Site;

/// As many routing domains as systemd-resolved takes for one interface (`LINK_SEARCH_DOMAINS_MAX` was 256 for long).
const MAX_DOMAINS: usize = 256;

/// The gateway as it is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gateway<'g> {
    /// In the tunnel.
    pub(super) addresses: &'g [IpAddr],
    /// Outside; none before its name was resolved.
    pub(super) endpoint: Option<IpAddr>,
    /// Its name or address outside, as in the profile.
    pub(super) host: &'g str,
}

/// Plans the routes; `own` are the interface's addresses. Answers what cannot be asked for as well.
pub(super) fn plan(
    site: Option<&Site>,
    gateway: Gateway<'_>,
    own: &[IpAddr],
) -> (Wish, BTreeMap<IpAddr, ErrorReport>) {
    let has_family = |address: &IpAddr| own.iter().any(|own| own.is_ipv4() == address.is_ipv4());
    let inside = gateway.addresses.iter().copied().filter(has_family);
    let mut wish = Wish { addresses: inside.clone().collect(), ..Wish::default() };
    let mut refused = BTreeMap::new();
    for server in site.iter().flat_map(|site| &site.servers) {
        for address in server.addresses.iter().copied() {
            if !has_family(&address) {
                refused.insert(address, no_family(address));
            } else if gateway.endpoint == Some(address) {
                refused.insert(address, is_endpoint(address));
            } else {
                wish.addresses.insert(address);
            }
        }
    }
    wish.names = site.map(|site| names(site, gateway.host, inside.collect()));
    (wish, refused)
}

/// A name under the suffix needs no entry of its own. The gateway's name outside is never asked for inside: there it
/// has no address, and a lost gateway could not be found again.
fn names(site: &Site, host: &str, servers: Vec<IpAddr>) -> Names {
    let suffix = site.dns_suffix.clone().filter(|suffix| !is_under(host, suffix));
    let all = site.servers.iter().flat_map(|server| server.hostnames.iter().chain([&server.name]));
    let outside = |name: &&String| suffix.as_ref().is_none_or(|suffix| !is_under(name, suffix));
    let not_the_gateway = |name: &&String| !is_under(host, name);
    // Where there is a suffix, a short name is found under it.
    let has_suffix = suffix.is_some();
    let not_short = |name: &&String| !has_suffix || name.contains('.');
    let others: BTreeSet<String> = all
        .filter(outside)
        .filter(not_the_gateway)
        .filter(not_short)
        .map(|name| name.to_ascii_lowercase())
        .collect();
    Names { servers, others: others.into_iter().take(MAX_DOMAINS - 1).collect(), suffix }
}

/// Whether a resolver that asks somebody for `domain` asks there for `name`.
fn is_under(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.trim_end_matches('.'), domain.trim_matches('.'));
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    let ends = name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    ends && (start == 0 || name.as_bytes().get(start - 1) == Some(&b'.'))
}

fn no_family(address: IpAddr) -> ErrorReport {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    ErrorReport {
        message: format!("{address} is an {family} address, and the tunnel has none here"),
        hint: format!(
            "switch {family} on on this machine, or ask your administrator for a profile with an {family} address"
        ),
    }
}

fn is_endpoint(address: IpAddr) -> ErrorReport {
    ErrorReport {
        message: format!(
            "{address} is also the gateway's address outside, so it cannot lead into the tunnel"
        ),
        hint: "reach that server with --mode loopback or --mode socks, or with another address of it"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::site::tests::{document, site};

    const OWN: [&str; 2] = ["10.99.0.2", "fd00:99::2"];

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn planned(own: &[&str], endpoint: &str) -> (Wish, BTreeMap<IpAddr, ErrorReport>) {
        let inside = addresses(&["10.99.0.1", "fd00:99::1"]);
        let gateway = Gateway {
            addresses: &inside,
            endpoint: Some(endpoint.parse().unwrap()),
            host: "vpn.example.org",
        };
        plan(Some(&site(document()).unwrap()), gateway, &addresses(own))
    }

    #[test]
    fn exactly_the_servers_and_the_gateway_inside_are_routed() {
        let (wish, refused) = planned(&OWN, "198.51.100.10");
        let all = ["10.99.0.1", "192.168.10.10", "192.168.10.21", "fd00:10::21", "fd00:99::1"];
        assert_eq!(wish.addresses.into_iter().collect::<Vec<_>>(), addresses(&all));
        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn before_the_gateway_has_answered_only_itself_is_routed() {
        let inside = addresses(&["10.99.0.1"]);
        let gateway = Gateway { addresses: &inside, endpoint: None, host: "vpn.example.org" };
        let (wish, _) = plan(None, gateway, &addresses(&OWN));
        assert_eq!((wish.addresses.into_iter().collect::<Vec<_>>(), wish.names), (inside, None));
    }

    #[test]
    fn a_server_at_the_gateways_outer_address_and_one_of_a_missing_family_are_refused() {
        let (wish, refused) = planned(&OWN[..1], "192.168.10.10");
        assert_eq!(
            wish.addresses.into_iter().collect::<Vec<_>>(),
            addresses(&["10.99.0.1", "192.168.10.21"])
        );
        let messages: Vec<_> = refused.values().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "192.168.10.10 is also the gateway's address outside, so it cannot lead into the tunnel",
                "fd00:10::21 is an IPv6 address, and the tunnel has none here",
            ]
        );
    }

    #[test]
    fn the_suffix_stands_for_the_names_under_it_and_the_gateways_own_name_is_never_taken() {
        let of = |suffix: &str, host: &str| {
            let mut document = document();
            document["gateway"]["dns_suffix"] = json!(suffix);
            document["servers"][1]["hostnames"] = json!(["rec01", "Rec01.example.org", "vpn.example.org"]);
            let names = names(&site(document).unwrap(), host, Vec::new());
            (names.suffix, names.others)
        };
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            of("vms.local", "vpn.example.org"),
            (Some("vms.local".to_owned()), text(&["rec01.example.org"]))
        );
        assert_eq!(
            of("example.org", "VPN.example.org."),
            (None, text(&["mgmt", "mgmt.vms.local", "rec01", "rec01.example.org"]))
        );
    }

    #[test]
    fn a_domain_covers_itself_and_what_is_below_it() {
        for (name, domain, under) in [
            ("a.vms.local", "vms.local", true),
            ("VMS.local.", "vms.local", true),
            ("avms.local", "vms.local", false),
            ("local", "vms.local", false),
            ("\u{e4}.local", "local", true),
        ] {
            assert_eq!(is_under(name, domain), under, "{name} {domain}");
        }
    }
}
