//! What `vmsgate-shim status` reports: the running shim's own account of itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vmsgate_exchange::refusal::{Reason, Refusal};

use crate::carrier::{Failure, Tally};
use crate::keys::{KeyState, fingerprint};
use crate::loopback::{Listeners, Origin, Planned, Trouble};
use crate::proxy::{Proxy, USERNAME};
use crate::shim::{Inner, State};
use crate::site::{Server, Service, Site};
use crate::tun::{NamesState, Routing};
use crate::tunnel::{InUse, LinkState};

/// The version of the report; fields are only ever added within one.
pub const SCHEMA_VERSION: u32 = 1;

/// The state of a running shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What the profile's file is called.
    pub profile: String,
    pub state: LinkState,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// When the shim was started.
    pub started: Timestamp,
    /// Why the gateway does not accept this client any more, in the state `refused`.
    #[serde(default)]
    pub refusal: Option<RefusalReport>,
    /// Whom to ask about access, if the gateway has told.
    #[serde(default)]
    pub contact: Option<String>,
    /// What stands in the way, if anything does.
    pub trouble: Option<String>,
    /// The gateway's address outside.
    pub endpoint: Option<SocketAddr>,
    /// The client's own addresses in the tunnel.
    pub tunnel_addresses: Vec<IpAddr>,
    pub handshake_age_ms: Option<u64>,
    pub round_trip_ms: Option<u64>,
    /// Of datagrams, since the start.
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Connections of programs that are carried now.
    pub open_connections: usize,
    /// The newest connection that did not come about.
    pub last_failure: Option<Failure>,
    pub keys: KeysReport,
    /// The network interface that programs reach the servers through, in mode `tun`.
    #[serde(default)]
    pub interface: Option<InterfaceReport>,
    /// What the gateway told; none until it has answered once.
    pub site: Option<SiteReport>,
    pub servers: Vec<ServerReport>,
    pub forwards: Vec<ForwardReport>,
    /// In SOCKS mode, where programs find the proxy.
    pub proxy: Option<ProxyReport>,
}

/// The proxy of SOCKS mode: SOCKS5 and HTTP on one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyReport {
    pub listen: SocketAddr,
    /// None where it wants no password.
    pub username: Option<String>,
}

/// What the gateway has said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReport {
    pub reason: Reason,
}

/// Who the gateway says that we are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteReport {
    pub gateway: String,
    pub client: String,
    pub operator: String,
    pub role: String,
    /// When the client's access ends.
    pub expires: Option<Timestamp>,
    /// How far the gateway's clock is ahead of this machine's.
    pub clock_offset_ms: i64,
    /// What the gateway wants the person to know.
    pub warnings: Vec<String>,
}

/// The network interface of mode `tun`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceReport {
    pub name: String,
    /// The client's own addresses in the tunnel, as far as this machine has their family.
    pub addresses: Vec<IpAddr>,
    pub mtu: u16,
    /// Every address that leads into the tunnel.
    pub routes: Vec<IpAddr>,
    /// Who resolves the site's names for programs.
    pub names: NamesState,
    /// Why it is of no use any more.
    pub error: Option<ErrorReport>,
}

/// The keys of the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysReport {
    /// Of the client's public key in use; none before the gateway's name was resolved.
    pub fingerprint: Option<String>,
    /// When it was registered.
    pub created: Option<Timestamp>,
    /// When it will be too old; it is replaced before, by itself.
    pub ends: Option<Timestamp>,
    /// Of the gateway's public key in use.
    pub gateway_fingerprint: Option<String>,
    /// Whether the pre-shared key was agreed with ML-KEM-768.
    pub post_quantum: bool,
    /// When it was.
    pub agreed: Option<Timestamp>,
    /// Whether the role reaches its servers under an agreed key only.
    pub post_quantum_required: bool,
    /// Why a change of keys did not come about.
    pub error: Option<ErrorReport>,
}

/// One server of the site and how it is reached here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    pub name: String,
    pub hostnames: Vec<String>,
    /// On the recording network.
    pub addresses: Vec<IpAddr>,
    /// Its address on this machine.
    pub loopback: Option<Ipv4Addr>,
    /// What the role may reach on it.
    #[serde(default)]
    pub services: Vec<ServiceReport>,
    pub listeners: Vec<ListenerReport>,
    /// Its addresses as they lead into the tunnel, in mode `tun`.
    #[serde(default)]
    pub routes: Vec<RouteReport>,
    /// What loopback mode cannot offer, with the reason.
    pub omitted: Vec<String>,
    /// The newest connection to it that got no answer, unless one was answered since.
    #[serde(default)]
    pub unreachable: Option<Failure>,
}

/// Some ports of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    pub service: String,
    pub protocol: String,
    pub first: u16,
    pub last: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    pub listen: SocketAddr,
    pub service: String,
    /// Why it does not listen.
    pub error: Option<ErrorReport>,
    /// The newest connection, if it did not come about.
    pub last_failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    pub address: IpAddr,
    /// Why it does not lead into the tunnel.
    pub error: Option<ErrorReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardReport {
    pub listen: SocketAddr,
    /// As it was asked for.
    pub forward: String,
    /// Why it does not listen.
    pub error: Option<ErrorReport>,
    /// Why the gateway will probably refuse it.
    pub warning: Option<String>,
    /// The newest connection, if it did not come about.
    pub last_failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    pub message: String,
    pub hint: String,
}

impl Report {
    pub fn is_connected(&self) -> bool {
        self.state == LinkState::Connected
    }

    pub(crate) fn new(inner: &Inner) -> Self {
        let link = inner.link.borrow().clone();
        let state = inner.state.borrow();
        let State { site, addresses, listeners, carrier, .. } = &*state;
        let routing = inner.routing.as_deref();
        let tally = carrier.as_ref().map(|carrier| carrier.tally());
        let servers = site.iter().flat_map(|site| &site.servers);
        Self {
            profile: inner.profile.clone(),
            state: link.state,
            since: link.since,
            started: inner.started,
            contact: contact(link.refusal.as_ref(), inner),
            refusal: link.refusal.map(|refusal| RefusalReport { reason: refusal.reason }),
            trouble: link.trouble,
            endpoint: link.endpoint,
            tunnel_addresses: inner.own.clone(),
            handshake_age_ms: link.handshake_age.map(|age| age.as_millis() as u64),
            round_trip_ms: link.round_trip.map(|time| time.as_millis() as u64),
            bytes_received: link.bytes_received,
            bytes_sent: link.bytes_sent,
            open_connections: tally.as_ref().map_or(0, |tally| tally.open()),
            last_failure: tally.as_ref().and_then(|tally| tally.last_failure()),
            keys: KeysReport::new(&inner.keys.borrow(), link.in_use, site.as_ref()),
            interface: routing.map(InterfaceReport::new),
            site: site.as_ref().map(SiteReport::new),
            servers: servers
                .map(|s| ServerReport {
                    unreachable: tally.as_ref().and_then(|tally| tally.unreachable(&s.addresses)),
                    ..ServerReport::new(s, addresses.of(&s.name), listeners, routing, tally.as_deref())
                })
                .collect(),
            forwards: forwards(listeners, tally.as_deref()),
            proxy: inner.proxy.clone(),
        }
    }
}

impl SiteReport {
    fn new(site: &Site) -> Self {
        Self {
            gateway: site.gateway.clone(),
            client: site.client.clone(),
            operator: site.operator.clone(),
            role: site.role.clone(),
            expires: site.expires,
            clock_offset_ms: site.clock_offset.as_millis().try_into().unwrap_or(i64::MAX),
            warnings: site.warnings.clone(),
        }
    }
}

impl InterfaceReport {
    fn new(routing: &Routing) -> Self {
        let state = routing.state.borrow();
        Self {
            name: routing.interface.clone(),
            addresses: routing.addresses.clone(),
            mtu: routing.mtu,
            routes: state.outcome.routed.iter().copied().collect(),
            names: state.outcome.names.clone(),
            error: state.trouble.clone(),
        }
    }
}

impl KeysReport {
    fn new(keys: &KeyState, in_use: Option<InUse>, site: Option<&Site>) -> Self {
        let rules = site.map(|site| site.key_rules.clone()).unwrap_or_default();
        let created = rules.created.max(keys.rotated);
        let ends = created.zip(rules.max_age).and_then(|(created, age)| created.checked_add(age).ok());
        let post_quantum = in_use.is_some_and(|in_use| in_use.post_quantum);
        Self {
            fingerprint: in_use.map(|in_use| fingerprint(&in_use.client)),
            created,
            ends,
            gateway_fingerprint: in_use.map(|in_use| fingerprint(&in_use.gateway)),
            post_quantum,
            agreed: keys.agreed.filter(|_| post_quantum),
            post_quantum_required: rules.required,
            error: keys.trouble.clone().map(|(message, hint)| ErrorReport { message, hint }),
        }
    }
}

/// Whom to ask: as it was said last, or earlier.
fn contact(refusal: Option<&Refusal>, inner: &Inner) -> Option<String> {
    let said = refusal.and_then(|refusal| refusal.contact.clone());
    said.or_else(|| inner.memory.borrow().told().and_then(|told| told.contact.clone()))
}

impl ServerReport {
    fn new(
        server: &Server,
        loopback: Option<Ipv4Addr>,
        listeners: &Listeners,
        routing: Option<&Routing>,
        tally: Option<&Tally>,
    ) -> Self {
        let own = listeners.iter().filter_map(|(listen, planned, trouble)| match &planned.origin {
            Origin::Server { name, service } if *name == server.name => Some(ListenerReport {
                listen,
                service: service.clone(),
                error: trouble.map(ErrorReport::new),
                last_failure: last_failure(planned, tally),
            }),
            Origin::Server { .. } | Origin::Forward(_) => None,
        });
        Self {
            name: server.name.clone(),
            hostnames: server.hostnames.clone(),
            addresses: server.addresses.clone(),
            loopback,
            services: server.services.iter().map(ServiceReport::new).collect(),
            listeners: own.collect(),
            routes: routing.map(|routing| routes(server, routing)).unwrap_or_default(),
            // Of loopback mode; a proxy and the kernel carry everything.
            omitted: if loopback.is_some() { server.omitted.clone() } else { Vec::new() },
            unreachable: None,
        }
    }
}

impl ServiceReport {
    fn new(service: &Service) -> Self {
        let ports = service.ports;
        let (first, last) = (ports.ports.first, ports.ports.last);
        Self { service: service.name.clone(), protocol: ports.protocol.to_string(), first, last }
    }
}

impl ProxyReport {
    pub(crate) fn new(proxy: &Proxy) -> Self {
        let username = proxy.access().password().map(|_| USERNAME.to_owned());
        Self { listen: proxy.listen(), username }
    }
}

impl ErrorReport {
    fn new(trouble: &Trouble) -> Self {
        Self { message: trouble.message.clone(), hint: trouble.hint.clone() }
    }
}

/// Addresses that are still on their way are left out.
fn routes(server: &Server, routing: &Routing) -> Vec<RouteReport> {
    let state = routing.state.borrow();
    let of = |address: &IpAddr| {
        let error = state.refused.get(address).or_else(|| state.outcome.refused.get(address));
        let settled = error.is_some() || state.outcome.routed.contains(address);
        settled.then(|| RouteReport { address: *address, error: error.cloned() })
    };
    server.addresses.iter().filter_map(of).collect()
}

fn last_failure(planned: &Planned, tally: Option<&Tally>) -> Option<Failure> {
    tally?.failure_of(planned.target.as_ref().ok()?)
}

fn forwards(listeners: &Listeners, tally: Option<&Tally>) -> Vec<ForwardReport> {
    let forwards = listeners.iter().filter_map(|(listen, planned, trouble)| match &planned.origin {
        Origin::Forward(text) => Some(ForwardReport {
            listen,
            forward: text.clone(),
            error: trouble.map(ErrorReport::new),
            warning: planned.doubt.clone(),
            last_failure: last_failure(planned, tally),
        }),
        Origin::Server { .. } => None,
    });
    forwards.collect()
}
