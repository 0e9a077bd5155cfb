//! Which listeners there should be. Pure: from what the gateway told and what the user asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Trouble};
use crate::forward::Forward;
use crate::site::Site;
use crate::target::{Target, Unresolved, doubt};

/// Who asked for a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A service of the server with this name.
    Server { name: String, service: String },
    /// The forward with this text.
    Forward(String),
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub origin: Origin,
    /// Why it cannot be opened, or the target.
    pub target: Result<Target, Trouble>,
    /// A reason to doubt that it will be of use.
    pub doubt: Option<String>,
}

/// All listeners, by their address.
pub type Plan = BTreeMap<SocketAddr, Planned>;

/// Plans the listeners. `site` is missing until the gateway has answered; `own` are the client's tunnel addresses,
/// which decide the families that it can reach.
pub fn plan(site: Option<&Site>, addresses: &Addresses, forwards: &[Forward], own: &[IpAddr]) -> Plan {
    let mut plan = Plan::new();
    for server in site.iter().flat_map(|site| &site.servers) {
        let Some(loopback) = addresses.of(&server.name) else { continue };
        for (&port, service) in &server.ports {
            let origin = Origin::Server { name: server.name.clone(), service: service.clone() };
            let target = Target::of_server(server, port, own).map_err(Trouble::from);
            let planned = Planned { origin, target, doubt: None };
            plan.insert(SocketAddr::new(loopback.into(), port), planned);
        }
    }
    for forward in forwards {
        let origin = Origin::Forward(forward.to_string());
        let (host, port) = (forward.to.host.as_str(), forward.to.port);
        let target = Target::resolve(host, port, site, own).map_err(Trouble::from);
        let doubt = if target.is_ok() { doubt(host, port, site) } else { None };
        plan.insert(forward.listen, Planned { origin, target, doubt });
    }
    plan
}

impl From<Unresolved> for Trouble {
    fn from(unresolved: Unresolved) -> Self {
        Self::new(unresolved.to_string(), unresolved.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{document, site};

    const BOTH: [&str; 2] = ["10.99.0.2", "fd00:99::2"];

    fn planned(forwards: &[&str], own: &[&str], known: bool) -> Plan {
        let site = site(document()).unwrap();
        let mut addresses = Addresses::default();
        addresses.assign(site.servers.iter().map(|server| server.name.as_str()));
        let forwards: Vec<Forward> = forwards.iter().map(|text| text.parse().unwrap()).collect();
        let own: Vec<IpAddr> = own.iter().map(|text| text.parse().unwrap()).collect();
        plan(known.then_some(&site), &addresses, &forwards, &own)
    }

    fn remotes(planned: &Planned) -> Vec<String> {
        planned.target.as_ref().unwrap().remotes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_server_listens_on_its_own_ports() {
        let plan = planned(&[], &BOTH, true);
        let mut ports: Vec<u16> = plan.keys().map(SocketAddr::port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [80, 443, 7563]);
        let recorder = plan.iter().find(|(listen, _)| listen.port() == 7563).unwrap().1;
        assert_eq!(remotes(recorder), ["[fd00:10::21]:7563", "192.168.10.21:7563"]);
    }

    #[test]
    fn only_families_of_the_profile_are_tried() {
        let plan = planned(&[], &["10.99.0.2"], true);
        let recorder = plan.iter().find(|(listen, _)| listen.port() == 7563).unwrap().1;
        assert_eq!(remotes(recorder), ["192.168.10.21:7563"]);
        let plan = planned(&[], &["fd00:99::2"], true);
        let page = plan.iter().find(|(listen, _)| listen.port() == 443).unwrap().1;
        assert_eq!(
            page.target.as_ref().unwrap_err().message,
            "`mgmt` has no address of a family that the profile has"
        );
    }

    #[test]
    fn a_forward_is_resolved_by_what_the_gateway_told() {
        let plan = planned(&["8443=MGMT.vms.local:443", "8080=192.168.10.10:80"], &BOTH, true);
        let at = |port| &plan[&SocketAddr::from(([127, 0, 0, 1], port))];
        assert_eq!((remotes(at(8443)), &at(8443).doubt), (vec!["192.168.10.10:443".to_owned()], &None));
        assert_eq!((remotes(at(8080)), &at(8080).doubt), (vec!["192.168.10.10:80".to_owned()], &None));
    }

    #[test]
    fn a_forward_that_policy_will_refuse_is_doubted_and_still_asked_for() {
        let plan = planned(&["1433=mgmt:1433", "1434=192.168.10.99:22"], &BOTH, true);
        let at = |port| &plan[&SocketAddr::from(([127, 0, 0, 1], port))];
        assert_eq!(remotes(at(1433)), ["192.168.10.10:1433"]);
        assert_eq!(
            at(1433).doubt.as_deref(),
            Some("your role does not include port 1433 of mgmt; it includes 80, 443")
        );
        assert_eq!(
            at(1434).doubt.as_deref(),
            Some("the gateway offers you no server `192.168.10.99`; it offers mgmt, rec01")
        );
    }

    #[test]
    fn a_forward_to_an_unknown_name_says_which_are_known() {
        let plan = planned(&["1=sql:1433"], &BOTH, true);
        let trouble = plan[&SocketAddr::from(([127, 0, 0, 1], 1))].target.as_ref().unwrap_err();
        assert_eq!(trouble.message, "the gateway offers you no server `sql`");
        assert_eq!(trouble.hint, "it offers mgmt, rec01");
    }

    #[test]
    fn before_the_gateway_has_answered_only_addresses_can_be_forwarded() {
        let plan = planned(&["1=mgmt:80", "2=192.168.10.10:80"], &BOTH, false);
        assert_eq!(plan.len(), 2);
        assert!(plan[&SocketAddr::from(([127, 0, 0, 1], 1))].target.is_err());
        assert!(plan[&SocketAddr::from(([127, 0, 0, 1], 2))].target.is_ok());
    }

    #[test]
    fn a_forward_takes_the_place_of_a_servers_listener() {
        let mut addresses = Addresses::default();
        addresses.assign(["mgmt", "rec01"].into_iter());
        let text = format!("{}:443=rec01:7563", addresses.of("mgmt").unwrap());
        let plan = planned(&[&text], &BOTH, true);
        let listen = SocketAddr::new(addresses.of("mgmt").unwrap().into(), 443);
        assert!(matches!(plan[&listen].origin, Origin::Forward(_)));
    }
}
