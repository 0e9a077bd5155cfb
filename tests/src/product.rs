//! What the product reports as JSON, as far as tests ask about it. The only file that knows these shapes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{process::capture, site::Site};

/// `vmsgate status --json`.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// Clients that may connect.
    pub clients: u64,
    /// Counters since the gateway started.
    pub totals: Totals,
    /// Open sessions.
    pub sessions: Vec<SessionStatus>,
    /// The gateway's keys that it answers with.
    pub identities: Vec<serde_json::Value>,
}

/// Counters since the gateway started.
#[derive(Debug, Deserialize)]
pub struct Totals {
    /// Flows that policy refused, by reason.
    pub flows_refused: BTreeMap<String, u64>,
    /// Handshakes refused, by reason.
    pub handshakes_rejected: BTreeMap<String, u64>,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// One open session.
#[derive(Debug, Deserialize)]
pub struct SessionStatus {
    /// The client's name.
    pub client: String,
    /// The person.
    pub operator: String,
    /// Its role.
    pub role: String,
    /// Where its datagrams come from.
    pub endpoint: Option<String>,
    /// Live flows.
    pub flows: u64,
    /// Whether it runs under a pre-shared key that was agreed in band.
    pub post_quantum: bool,
}

/// `vmsgate sessions --json`: one row.
#[derive(Debug, Deserialize)]
pub struct Session {
    /// The session's identifier.
    pub session: String,
    /// The device.
    pub client: String,
    /// The person.
    pub operator: String,
    /// What it may reach.
    pub role: String,
    /// Where it came from on the internet.
    pub source: SocketAddr,
    /// When it ended; none while it is open.
    pub ended: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// The session before a restart of the gateway that it takes up.
    pub continues: Option<String>,
    /// How much went through.
    pub traffic: Traffic,
}

/// `vmsgate flows --json`: one row.
#[derive(Debug, Deserialize)]
pub struct Flow {
    /// The session it belongs to.
    pub session: String,
    /// The device.
    pub client: String,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Where it went.
    pub destination: Destination,
    /// The gateway's side on the recording network.
    pub lan_source: Option<HostPort>,
    /// When it ended; none while it is open.
    pub ended: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// What a TCP connection that ended was seen to carry: `tls`, `plain` or `none`.
    pub tls: Option<String>,
    /// How much went through.
    pub traffic: Traffic,
}

/// `vmsgate denials --json`: one row.
#[derive(Debug, Deserialize)]
pub struct Denial {
    /// The device.
    pub client: String,
    /// The person.
    pub operator: String,
    /// Where it came from on the internet.
    pub source: SocketAddr,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Where it wanted to go.
    pub destination: Destination,
    /// Every port that was tried, like `22,80-90`; empty for ICMP.
    pub ports: String,
    /// How often.
    pub count: u64,
    /// Why it was refused.
    pub reason: String,
    /// What decided.
    pub rule: Option<String>,
}

/// A destination on the recording network.
#[derive(Debug, Deserialize)]
pub struct Destination {
    /// The configured server, if it is one.
    pub server: Option<String>,
    /// The service that the port belongs to.
    pub service: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// Its port; none for ICMP.
    pub port: Option<u16>,
}

/// An address with a port where there is one.
#[derive(Debug, Deserialize)]
pub struct HostPort {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

/// Both directions.
#[derive(Debug, Deserialize)]
pub struct Traffic {
    /// From the client.
    pub from_client: Volume,
    /// To the client.
    pub to_client: Volume,
}

/// One direction.
#[derive(Debug, Deserialize)]
pub struct Volume {
    /// Bytes.
    pub bytes: u64,
}

/// `vmsgate-shim status --json`.
#[derive(Debug, Deserialize)]
pub struct ShimReport {
    /// `connected` once the gateway answers.
    pub state: String,
    /// What the gateway told, once it has.
    pub site: Option<serde_json::Value>,
    /// The network interface of mode `tun`.
    pub interface: Option<ShimInterface>,
    /// The servers and where they are on this machine.
    pub servers: Vec<ShimServer>,
    /// The proxy, in SOCKS mode.
    pub proxy: Option<ShimProxy>,
}

/// The shim's proxy.
#[derive(Debug, Deserialize)]
pub struct ShimProxy {
    /// Where programs find it.
    pub listen: SocketAddr,
    /// None where it wants no password.
    pub username: Option<String>,
    /// Only where it was asked for.
    pub password: Option<String>,
}

impl ShimProxy {
    /// The proxy as curl and browsers write it.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        let login = self.password.iter().map(|password| format!("vmsgate:{password}@"));
        format!("{scheme}://{}{}", login.collect::<String>(), self.listen)
    }
}

/// The network interface of mode `tun`.
#[derive(Debug, Deserialize)]
pub struct ShimInterface {
    /// What it is called.
    pub name: String,
    /// The addresses that lead into the tunnel.
    pub routes: BTreeSet<IpAddr>,
}

/// One server as the shim offers it.
#[derive(Debug, Deserialize)]
pub struct ShimServer {
    /// Its name.
    pub name: String,
    /// Its address on this machine.
    pub loopback: Option<IpAddr>,
    /// Its ports.
    pub listeners: Vec<ShimListener>,
    /// Its addresses as they lead into the tunnel.
    pub routes: Vec<ShimRoute>,
}

/// An address of a server, as it leads into the tunnel.
#[derive(Debug, Deserialize)]
pub struct ShimRoute {
    /// The address.
    pub address: IpAddr,
    /// Why it does not.
    pub error: Option<serde_json::Value>,
}

/// One port as the shim offers it.
#[derive(Debug, Deserialize)]
pub struct ShimListener {
    /// Where programs connect to.
    pub listen: SocketAddr,
    /// Why it does not listen.
    pub error: Option<serde_json::Value>,
}

impl Denial {
    /// Every port that was tried.
    ///
    /// # Panics
    /// When the list is not as documented: that is a failure of the product.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        let number = |text: &str| text.parse::<u16>().unwrap_or_else(|_| panic!("ports `{}`", self.ports));
        let ranges = self.ports.split(',').filter(|range| !range.is_empty());
        ranges
            .map(|range| range.split_once('-').unwrap_or((range, range)))
            .flat_map(|(a, b)| number(a)..=number(b))
            .collect()
    }
}

impl Site {
    /// What the running gateway says about itself.
    ///
    /// # Errors
    /// When it does not answer, or not in the expected shape.
    pub fn status(&self) -> Result<Status> {
        let text = capture(&mut self.vmsgate(&["status", "--json"]))?;
        serde_json::from_str(&text).with_context(|| format!("unexpected status: {text}"))
    }

    /// The rows of `vmsgate sessions`, `flows` or `denials`, as far as `T` asks for them.
    ///
    /// # Errors
    /// When the command fails or answers in another shape.
    pub fn records<T: DeserializeOwned>(&self, command: &str, filters: &[&str]) -> Result<Vec<T>> {
        let text = capture(&mut self.vmsgate(&[&[command, "--json"], filters].concat()))?;
        let mut report: serde_json::Value = serde_json::from_str(&text)?;
        ensure!(report["schema_version"].is_u64(), "`{command} --json` has no schema_version: {text:.300}");
        serde_json::from_value(report["rows"].take())
            .with_context(|| format!("`{command} --json`: {text:.600}"))
    }
}
