//! Whether programs on this machine find the servers by name, and whether there are names at all.

use std::net::{IpAddr, Ipv4Addr};

use tokio::task::JoinSet;

use super::finding::{Finding, Id, Verdict};
use super::link::{Found, list, look_up};
use crate::site::Server;

/// Names that are looked up, at most, and at the same time.
const MAX_NAMES: usize = 512;
const AT_ONCE: usize = 16;

/// A host name of a server, and where it has to lead.
#[derive(Debug, Clone)]
struct Name {
    name: String,
    server: String,
    /// The server's address on this machine, in loopback mode.
    here: Option<Ipv4Addr>,
    /// Its addresses on the recording network.
    there: Vec<IpAddr>,
}

/// Looks up every host name of the servers. `here` is a server's loopback address.
pub(super) async fn resolve(servers: &[Server], here: impl Fn(&str) -> Option<Ipv4Addr>) -> Vec<Finding> {
    let names = servers.iter().flat_map(|server| {
        let (here, there) = (here(&server.name), &server.addresses);
        let names = server.hostnames.iter().filter(|name| name.parse::<IpAddr>().is_err());
        names.map(move |name| Name {
            name: name.clone(),
            server: server.name.clone(),
            here,
            there: there.clone(),
        })
    });
    let (mut findings, mut lookups) = (Vec::new(), JoinSet::new());
    for name in names.take(MAX_NAMES) {
        if lookups.len() == AT_ONCE {
            findings.extend(lookups.join_next().await.and_then(Result::ok));
        }
        lookups.spawn_local(async move { resolved(&name, &look_up(&name.name).await) });
    }
    findings.extend(lookups.join_all().await);
    findings
}

fn resolved(Name { name, server, here, there }: &Name, found: &Found) -> Finding {
    let judge =
        |verdict, message: String| Finding::new(Id::NamesResolve, verdict, message).about(name.clone());
    let hosts = "`vmsgate-shim hosts` prints the lines for this machine's hosts file";
    let none = "no address on this machine: programs do not find the server by this name";
    let expected = |address: &IpAddr| here.is_some_and(|here| *address == IpAddr::V4(here));
    match found {
        Ok(addresses) if !addresses.is_empty() && addresses.iter().all(expected) => {
            judge(Verdict::Ok, format!("leads to {server} through the shim ({})", list(addresses)))
        }
        Ok(addresses) if !addresses.is_empty() && addresses.iter().all(|address| there.contains(address)) => {
            let message = format!("leads to {server}'s own address {}, past the shim's loopback addresses", list(addresses));
            // Right where packets to that address are routed into the tunnel, and where there are no others.
            match here {
                None => judge(Verdict::Ok, message),
                Some(_) => judge(Verdict::Warning, message).advise(format!(
                    "right with `--mode tun` and with a WireGuard app; for loopback mode {hosts}"
                )),
            }
        }
        Ok(addresses) if !addresses.is_empty() => {
            judge(Verdict::Problem, format!("leads to {}, which is not {server}", list(addresses))).advise(format!(
                "another network has the same name, or the hosts file has an old line: {hosts}, which go before all others"
            ))
        }
        Ok(_) => judge(Verdict::Warning, none.to_owned()).advise(hosts),
        Err(error) => judge(Verdict::Warning, format!("{none} ({error})")).advise(hosts),
    }
}

/// Whether a server can be found by a name; loopback mode can redirect nothing else. `routed` where packets to its
/// addresses go into the tunnel.
pub(super) fn literal(server: &Server, routed: bool) -> Finding {
    let id = Id::NamesLiteral;
    let addresses = list(&server.addresses);
    if routed {
        return Finding::ok(id, format!("{addresses} leads into the tunnel")).about(server.name.clone());
    }
    let (numbers, names): (Vec<_>, Vec<_>) =
        server.hostnames.iter().cloned().partition(|name| name.parse::<IpAddr>().is_ok());
    // Where the configuration names none, the gateway takes the server's own name there for one.
    let own =
        |name: &String| name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(&server.name));
    let advice = format!(
        "a literal address cannot be redirected to a loopback address. `--mode socks` and `--mode tun` reach it; or the \
         administrator gives {} a host name in XProtect, and in `hostnames` of gateway.toml",
        server.name
    );
    let finding = if !numbers.is_empty() || server.hostnames.is_empty() {
        let message = format!(
            "clients are given the address {addresses} and no name, which loopback mode cannot redirect"
        );
        Finding::new(id, Verdict::Warning, message).advise(advice)
    } else if names.iter().all(own) {
        let message = format!(
            "the gateway knows no host name but the server's own: where XProtect hands out {addresses} instead, loopback mode \
             does not work"
        );
        Finding::new(id, Verdict::Note, message).advise(advice)
    } else {
        Finding::ok(id, format!("has the names {}", list(&names)))
    };
    finding.about(server.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn judge(found: &[&str], here: Option<Ipv4Addr>) -> Verdict {
        let there = vec!["192.168.10.21".parse().unwrap(), "fd00:10::21".parse().unwrap()];
        let name = Name { name: "rec01.vms.local".to_owned(), server: "rec01".to_owned(), here, there };
        let found = found.iter().map(|address| address.parse().unwrap()).collect();
        let finding = resolved(&name, &Ok(found));
        assert_eq!(finding.advice.is_some(), finding.verdict != Verdict::Ok);
        finding.verdict
    }

    #[test]
    fn a_name_is_judged_by_where_it_leads() {
        let here = Some(Ipv4Addr::new(127, 125, 208, 243));
        assert_eq!(judge(&["127.125.208.243"], here), Verdict::Ok);
        assert_eq!(judge(&["192.168.10.21"], here), Verdict::Warning, "past the shim");
        assert_eq!(judge(&["192.168.10.21", "fd00:10::21"], None), Verdict::Ok, "routed");
        assert_eq!(judge(&["203.0.113.9"], here), Verdict::Problem);
        assert_eq!(judge(&["127.125.208.243", "203.0.113.9"], here), Verdict::Problem, "a matter of luck");
        assert_eq!(judge(&["127.0.0.1"], None), Verdict::Problem);
        assert_eq!(judge(&[], here), Verdict::Warning);
    }

    #[test]
    fn a_server_without_a_name_is_told_with_the_mode_that_works() {
        let judge = |hostnames: &[&str], routed| {
            let server = Server {
                name: "rec01".to_owned(),
                hostnames: hostnames.iter().map(|name| (*name).to_owned()).collect(),
                addresses: vec!["192.168.10.21".parse().unwrap()],
                services: Vec::new(),
                ports: BTreeMap::new(),
                omitted: Vec::new(),
            };
            literal(&server, routed)
        };
        assert_eq!(judge(&["recorder-1", "recorder-1.vms.local"], false).verdict, Verdict::Ok);
        assert_eq!(judge(&["rec01", "rec01.vms.local"], false).verdict, Verdict::Note);
        assert_eq!(judge(&[], true).verdict, Verdict::Ok);
        for literal in
            [judge(&[], false), judge(&["192.168.10.21"], false), judge(&["rec01", "192.168.10.21"], false)]
        {
            assert_eq!(literal.verdict, Verdict::Warning);
            assert!(literal.advice.unwrap().contains("`--mode socks` and `--mode tun`"));
        }
    }

    #[tokio::test]
    async fn names_are_looked_up_as_programs_do() {
        let server = Server {
            name: "rec01".to_owned(),
            // Every resolver knows these without asking anybody.
            hostnames: vec!["localhost".to_owned(), "127.125.208.243".to_owned()],
            addresses: Vec::new(),
            services: Vec::new(),
            ports: BTreeMap::new(),
            omitted: Vec::new(),
        };
        let local = tokio::task::LocalSet::new();
        let findings = local.run_until(resolve(&[server], |_| None)).await;
        let told: Vec<_> = findings.iter().map(|f| (f.subject.as_deref(), f.verdict)).collect();
        assert_eq!(told, [(Some("localhost"), Verdict::Problem)]);
    }
}
