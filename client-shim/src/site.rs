//! What the gateway told about itself and the servers, checked and reduced to what the shim uses.
//!
//! The document comes from an authenticated gateway, but it is still foreign: its names end up on terminals and in
//! hosts files, its ports in listeners. So it is bounded and every text is checked before anything is done with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use vmsgate_cli::human::printable;
use vmsgate_config::address::Endpoint;
use vmsgate_config::profile::{self, ProfileServer, SCHEMA_VERSION};
use vmsgate_config::{PortRange, Protocol, ProtocolPorts};
use x25519_dalek::PublicKey;

/// More than any site has; a bound on work, not a promise.
const MAX_SERVERS: usize = 1024;
const MAX_NAMES: usize = 64;
/// Listeners for one server. A wider range would use up the process's file descriptors.
const MAX_PORTS: usize = 128;
const MAX_TEXT: usize = 253;
const MAX_WARNINGS: usize = 16;
const MAX_WARNING_CHARS: usize = 500;
/// A hundred years, which can be computed with.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

/// The site as this client may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub gateway: String,
    /// Where the gateway, or another of the same registry, is reached.
    pub endpoints: Vec<Endpoint>,
    pub client: String,
    pub operator: String,
    pub role: String,
    pub expires: Option<Timestamp>,
    /// The suffix of the site's names, if it has one.
    pub dns_suffix: Option<String>,
    /// Whom to ask about it.
    pub contact: Option<String>,
    /// How far the gateway's clock is ahead of this machine's.
    pub clock_offset: SignedDuration,
    pub servers: Vec<Server>,
    pub key_rules: KeyRules,
    /// What the gateway wants the person to know.
    pub warnings: Vec<String>,
}

/// What the gateway told about keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRules {
    /// When the client's key was registered, by the gateway's clock.
    pub created: Option<Timestamp>,
    /// How old it may become.
    pub max_age: Option<Duration>,
    /// How long an agreed pre-shared key is used; none where the gateway agrees on none.
    pub interval: Option<Duration>,
    /// Whether the role reaches its servers under an agreed pre-shared key only.
    pub required: bool,
    /// The identity to use, if the gateway names any.
    pub identity: Option<PublicKey>,
}

/// A server, reduced to what the role may reach on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub hostnames: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// What the role may reach, as the gateway told it.
    pub services: Vec<Service>,
    /// TCP ports for listeners, each with the name of its service.
    pub ports: BTreeMap<u16, String>,
    /// What loopback mode cannot offer, with the reason.
    pub omitted: Vec<String>,
}

/// Some ports of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub ports: ProtocolPorts,
}

/// Why the gateway's answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SiteError {
    #[error(
        "the gateway speaks version {0} of the profile document, this shim knows {SCHEMA_VERSION}: update the shim"
    )]
    TooNew(u32),
    #[error(
        "the gateway's profile document has more than {MAX_SERVERS} servers, or more than {MAX_NAMES} endpoints, or names or addresses of one server"
    )]
    TooMany,
    #[error("the gateway's profile document has a bad {0}")]
    Bad(&'static str),
}

impl Site {
    /// Checks a document that arrived at `now`.
    ///
    /// # Errors
    /// When anything in it could not have come from a sound gateway.
    pub fn new(document: profile::Profile, now: Timestamp) -> Result<Self, SiteError> {
        if document.schema_version > SCHEMA_VERSION {
            return Err(SiteError::TooNew(document.schema_version));
        }
        if document.servers.len() > MAX_SERVERS || document.gateway.endpoints.len() > MAX_NAMES {
            return Err(SiteError::TooMany);
        }
        let time = |text: &str, what| text.parse::<Timestamp>().map_err(|_| SiteError::Bad(what));
        let server_time = time(&document.gateway.server_time, "server time")?;
        let key_rules = key_rules(&document)?;
        let suffix = document.gateway.dns_suffix.filter(|suffix| !suffix.is_empty());
        let endpoints = document.gateway.endpoints.iter();
        let endpoints = endpoints.map(|text| text.parse().map_err(|_| SiteError::Bad("endpoint")));
        let contact = document.gateway.contact;
        let warnings = document.warnings.into_iter().take(MAX_WARNINGS);
        Ok(Self {
            gateway: label(document.gateway.name, "gateway name")?,
            endpoints: endpoints.collect::<Result<_, _>>()?,
            client: label(document.client, "client name")?,
            operator: label(document.operator, "operator")?,
            role: label(document.role, "role")?,
            expires: document.expires.as_deref().map(|text| time(text, "expiry")).transpose()?,
            dns_suffix: suffix.map(|suffix| host_name(suffix, "DNS suffix")).transpose()?,
            contact: contact.map(|contact| label(contact, "contact")).transpose()?,
            clock_offset: server_time.duration_since(now),
            servers: document.servers.into_iter().map(server).collect::<Result<_, _>>()?,
            key_rules,
            warnings: warnings
                .map(|text| printable(&text).chars().take(MAX_WARNING_CHARS).collect())
                .collect(),
        })
    }

    /// Whether both say the same, whenever they were asked.
    pub fn is_same_as(&self, other: &Self) -> bool {
        *self == Self { clock_offset: self.clock_offset, ..other.clone() }
    }

    /// The server that `host` means: its name, one of its host names, or one of its addresses.
    pub fn find(&self, host: &str) -> Option<&Server> {
        let named = |name: &String| name.eq_ignore_ascii_case(host);
        let address: Option<IpAddr> = host.parse().ok();
        let all = || self.servers.iter();
        all()
            .find(|server| named(&server.name))
            .or_else(|| all().find(|server| server.hostnames.iter().any(named)))
            .or_else(|| all().find(|server| address.is_some_and(|a| server.addresses.contains(&a))))
    }
}

impl Server {
    /// Whether the role may reach the port.
    pub fn offers(&self, protocol: Protocol, port: u16) -> bool {
        let mut ports = self.services.iter().map(|service| service.ports);
        ports.any(|offered| offered.protocol == protocol && offered.ports.contains(port))
    }
}

fn server(document: ProfileServer) -> Result<Server, SiteError> {
    if document.hostnames.len() > MAX_NAMES
        || document.addresses.len() > MAX_NAMES
        || document.services.len() > MAX_NAMES
    {
        return Err(SiteError::TooMany);
    }
    let hostnames = document.hostnames.into_iter().map(|name| host_name(name, "host name"));
    let mut server = Server {
        name: host_name(document.name, "server name")?,
        hostnames: hostnames.collect::<Result<_, _>>()?,
        addresses: document.addresses,
        services: Vec::new(),
        ports: BTreeMap::new(),
        omitted: Vec::new(),
    };
    for service in document.services {
        let name = host_name(service.name, "service name")?;
        for range in service.ports.into_iter().take(MAX_NAMES) {
            if range.first == 0 || range.first > range.last {
                return Err(SiteError::Bad("port range"));
            }
            let ports = ProtocolPorts {
                protocol: service.protocol,
                ports: PortRange { first: range.first, last: range.last },
            };
            server.services.push(Service { name: name.clone(), ports });
            let shown = format!("{name} ({ports})");
            if service.protocol == Protocol::Udp {
                server.omitted.push(format!("{shown}: loopback mode carries TCP only"));
                continue;
            }
            let room = MAX_PORTS.saturating_sub(server.ports.len());
            let count = usize::from(range.last - range.first) + 1;
            if count > room {
                server
                    .omitted
                    .push(format!("{shown}: more than {MAX_PORTS} ports; use --forward for those you need"));
            }
            for port in (range.first..=range.last).take(room) {
                server.ports.entry(port).or_insert_with(|| name.clone());
            }
        }
    }
    Ok(server)
}

fn key_rules(document: &profile::Profile) -> Result<KeyRules, SiteError> {
    let keys = document.keys.as_ref();
    let created = keys.map(|keys| keys.created.parse::<Timestamp>()).transpose();
    let seconds = |seconds: u64| Duration::from_secs(seconds.min(MAX_SECONDS));
    let post_quantum = document.post_quantum.as_ref();
    // Zero would keep both sides busy with nothing else.
    let interval = post_quantum.map(|rules| seconds(rules.interval_seconds.max(1)));
    let identity = document.gateway.identities.first().map(|text| {
        let bytes: Option<[u8; 32]> = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(PublicKey::from).ok_or(SiteError::Bad("identity"))
    });
    Ok(KeyRules {
        created: created.map_err(|_| SiteError::Bad("time of the key"))?,
        max_age: keys.and_then(|keys| keys.max_age_seconds).map(seconds),
        interval,
        required: post_quantum.is_some_and(|rules| rules.required),
        identity: identity.transpose()?,
    })
}

/// A name for people: anything that fits on a line and cannot move the cursor.
fn label(text: String, what: &'static str) -> Result<String, SiteError> {
    let sound = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    if sound { Ok(text) } else { Err(SiteError::Bad(what)) }
}

fn host_name(text: String, what: &'static str) -> Result<String, SiteError> {
    if is_host_name(&text) { Ok(text) } else { Err(SiteError::Bad(what)) }
}

/// Whether a name may stand in a hosts file.
pub(crate) fn is_host_name(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= MAX_TEXT && text.chars().all(safe)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn document() -> Value {
        json!({
            "schema_version": 1,
            "client": "anna-laptop",
            "operator": "Anna Berg",
            "role": "smart-client",
            "expires": "2027-01-01T00:00:00Z",
            "addresses": ["10.99.0.2/32"],
            "gateway": {
                "name": "gw-1", "server_time": "2026-11-24T10:00:05.000Z", "endpoints": ["vpn.example.org:51820"],
                "identities": ["CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="], "addresses": ["10.99.0.1"], "mtu": 1420,
                "dns_suffix": null, "contact": "VMS operations",
            },
            "keys": {"created": "2026-11-01T00:00:00Z", "max_age_seconds": 7_776_000},
            "post_quantum": {"interval_seconds": 3600, "required": true, "in_force": false},
            "warnings": ["your access ends in 10 days"],
            "servers": [
                {
                    "name": "mgmt", "hostnames": ["mgmt", "mgmt.vms.local"], "addresses": ["192.168.10.10"],
                    "services": [{"name": "management-server", "protocol": "tcp",
                                  "ports": [{"first": 80, "last": 80}, {"first": 443, "last": 443}]}],
                },
                {
                    "name": "rec01", "hostnames": ["rec01"], "addresses": ["fd00:10::21", "192.168.10.21"],
                    "services": [{"name": "recording-server", "protocol": "tcp", "ports": [{"first": 7563, "last": 7563}]}],
                },
            ],
        })
    }

    pub(crate) fn site(document: Value) -> Result<Site, SiteError> {
        Site::new(serde_json::from_value(document).unwrap(), "2026-11-24T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_sound_document_is_taken_over() {
        let site = site(document()).unwrap();

        assert_eq!(site.clock_offset, SignedDuration::from_secs(5));
        assert_eq!(site.endpoints, ["vpn.example.org:51820".parse().unwrap()]);
        assert_eq!(site.servers[0].ports.keys().collect::<Vec<_>>(), [&80, &443]);
        for (host, server) in [
            ("MGMT.vms.local", Some("mgmt")),
            ("rec01", Some("rec01")),
            ("fd00:10::21", Some("rec01")),
            ("sql", None),
        ] {
            assert_eq!(site.find(host).map(|s| s.name.as_str()), server);
        }
    }

    #[test]
    fn what_it_says_about_keys_is_taken_over_and_may_be_missing() {
        let told = site(document()).unwrap();
        let rules = KeyRules {
            created: Some("2026-11-01T00:00:00Z".parse().unwrap()),
            max_age: Some(Duration::from_secs(90 * 86_400)),
            interval: Some(Duration::from_secs(3600)),
            required: true,
            identity: Some(PublicKey::from([9; 32])),
        };
        assert_eq!((told.key_rules, told.warnings), (rules, vec!["your access ends in 10 days".to_owned()]));

        let mut evil = document();
        evil["warnings"] = json!(["\u{1b}[2J"]);
        assert_eq!(site(evil).unwrap().warnings, ["\\u{1b}[2J"]);

        let mut silent = document();
        for name in ["keys", "post_quantum", "warnings"] {
            silent.as_object_mut().unwrap().remove(name);
        }
        silent["gateway"]["identities"] = json!([]);
        let silent = site(silent).unwrap();
        assert_eq!((silent.key_rules, silent.warnings), (KeyRules::default(), Vec::new()));
    }

    #[test]
    fn a_newer_document_asks_for_an_update() {
        let mut newer = document();
        newer["schema_version"] = json!(2);
        assert_eq!(site(newer), Err(SiteError::TooNew(2)));
    }

    #[test]
    fn nothing_in_a_document_can_write_into_a_hosts_file_or_a_terminal() {
        for (pointer, text, what) in [
            ("/servers/0/hostnames/1", "x\n127.0.0.1 bank.example", "host name"),
            ("/servers/0/hostnames/1", "a b", "host name"),
            ("/servers/0/name", "", "server name"),
            ("/servers/0/services/0/name", "\u{1b}[2J", "service name"),
            ("/gateway/dns_suffix", "vms.local\nnameserver 192.0.2.66", "DNS suffix"),
            ("/client", "anna\u{1b}[2J", "client name"),
            ("/gateway/server_time", "yesterday", "server time"),
            ("/expires", "never", "expiry"),
            ("/gateway/contact", "\u{1b}[2J", "contact"),
            ("/keys/created", "yesterday", "time of the key"),
            ("/gateway/identities/0", "AAAA", "identity"),
            ("/gateway/endpoints/0", "vpn.example.org\n:1", "endpoint"),
        ] {
            let mut bad = document();
            *bad.pointer_mut(pointer).unwrap() = json!(text);
            assert_eq!(site(bad), Err(SiteError::Bad(what)), "{pointer}");
        }
        let mut reversed = document();
        reversed["servers"][0]["services"][0]["ports"][0]["first"] = json!(81);
        assert_eq!(site(reversed), Err(SiteError::Bad("port range")));
    }

    #[test]
    fn size_is_bounded() {
        let mut many = document();
        many["servers"] = vec![many["servers"][0].clone(); MAX_SERVERS + 1].into();
        assert_eq!(site(many), Err(SiteError::TooMany));
        let mut many = document();
        many["servers"][0]["hostnames"] = vec![json!("x"); MAX_NAMES + 1].into();
        assert_eq!(site(many), Err(SiteError::TooMany));
    }

    #[test]
    fn what_loopback_mode_cannot_offer_is_named() {
        let mut wide = document();
        wide["servers"][0]["services"] = json!([
            {"name": "all", "protocol": "tcp", "ports": [{"first": 1, "last": 65535}]},
            {"name": "snmp", "protocol": "udp", "ports": [{"first": 161, "last": 161}]},
        ]);

        let server = site(wide).unwrap().servers.remove(0);

        assert_eq!(server.ports.len(), MAX_PORTS);
        assert_eq!(
            server.omitted,
            [
                "all (tcp/1-65535): more than 128 ports; use --forward for those you need",
                "snmp (udp/161): loopback mode carries TCP only",
            ]
        );
    }
}
