//! The ports that no remote client may reach, whatever a role says.
//!
//! `check` refuses a configuration that opens one of them, unless the server lists it under `expose-anyway`
//! with a reason. Cameras' own web and RTSP ports (80, 443, 554) are not here although clients must not reach
//! cameras: servers use the same ports, and a camera is reachable only if somebody writes it down as a server.

use super::{tcp, tcp_range, udp, udp_range};
use crate::ports::{Protocol, ProtocolPorts};

/// Ports that are never opened, and why.
#[derive(Debug)]
pub struct NeverExpose {
    /// What listens there.
    pub name: &'static str,
    pub ports: ProtocolPorts,
    pub reason: &'static str,
    /// Tags of [`super::sources::SOURCES`].
    pub sources: &'static [&'static str],
}

/// The entry that forbids a port, if one does.
///
/// ```
/// use vmsgate_config::{Protocol, never_expose};
/// assert_eq!(never_expose(Protocol::Tcp, 1433).map(|entry| entry.name), Some("SQL Server"));
/// assert!(never_expose(Protocol::Tcp, 7563).is_none());
/// ```
pub fn never_expose(protocol: Protocol, port: u16) -> Option<&'static NeverExpose> {
    NEVER_EXPOSE.iter().find(|entry| entry.ports.protocol == protocol && entry.ports.ports.contains(port))
}

const DATABASE: &str = "databases belong to the servers alone";
const SERVERS_ONLY: &str = "servers use it among themselves";
const LOCAL: &str = "programs on the same host use it";
const INJECTION: &str = "whoever reaches it can inject events";
const WINDOWS: &str = "Windows administration, not video";
const DOMAIN: &str = "domain controllers are not for remote clients";

macro_rules! never {
    ($($name:literal, $ports:expr, $reason:expr, [$($source:literal),+];)+) => {
        &[$(NeverExpose { name: $name, ports: $ports, reason: $reason, sources: &[$($source),+] }),+]
    };
}

/// In the order in which they are looked up: where two overlap, the first names the reason.
pub const NEVER_EXPOSE: &[NeverExpose] = never! {
    "SQL Server", tcp_range(1433, 1434), DATABASE, ["SAD", "HG-ms"];
    "SQL Server Browser", udp(1434), DATABASE, ["general"];
    "Recorder device alerts", tcp(25), "cameras send alerts there", ["MC-rec", "HG-hist"];
    "Recorder device alerts", tcp(5432), "cameras send alerts there; also PostgreSQL", ["MC-rec", "HG-hist"];
    "Recorder registration", tcp(9000), SERVERS_ONLY, ["SAD", "MC-rec", "PST-rc"];
    "Recorder local web service", tcp(9001), SERVERS_ONLY, ["PST-rc", "FMS"];
    "Recorder database merge", tcp(5210), SERVERS_ONLY, ["HC"];
    "Recorder failover polling", tcp(11000), SERVERS_ONLY, ["HC"];
    "Recorder tray icon", tcp(8966), LOCAL, ["general"];
    "Recorder driver events", udp(65101), LOCAL, ["general"];
    "Failover heartbeat", udp(8844), SERVERS_ONLY, ["M14"];
    "Failover management", tcp(8990), SERVERS_ONLY, ["KRB"];
    "Management failover cluster", udp(3600), SERVERS_ONLY, ["FMS"];
    "Management failover cluster", udp(4800), SERVERS_ONLY, ["FMS"];
    "Management failover cluster", udp(6259), LOCAL, ["FMS"];
    "Management failover cluster", udp_range(8888, 8897), SERVERS_ONLY, ["FMS"];
    "Management failover cluster", tcp(9010), SERVERS_ONLY, ["FMS"];
    "Management failover cluster", tcp(9453), SERVERS_ONLY, ["FMS"];
    "Genetec Telnet console", tcp(5602), "unencrypted administration", ["GEN"];
    "Management failover cluster", tcp_range(5600, 5609), SERVERS_ONLY, ["FMS"];
    "Management server internal", tcp(8080), LOCAL, ["SAD", "KRB"];
    "Management server internal", udp(8080), LOCAL, ["SAD"];
    "Mobile server video push", tcp_range(40001, 40099), LOCAL, ["general"];
    "Data Collector", tcp(7609), SERVERS_ONLY, ["KRB", "SAD-enc"];
    "SNMP", udp_range(161, 162), "monitoring, not video", ["general"];
    "SNMP", tcp_range(161, 162), "monitoring, not video", ["general"];
    "Management server SNMP", tcp(7475), LOCAL, ["HG-ms"];
    "Generic events", tcp_range(1234, 1235), INJECTION, ["MIP-ge"];
    "Generic events", udp_range(1234, 1235), INJECTION, ["MIP-ge"];
    "Analytics events", tcp(9090), INJECTION, ["MIP-ge"];
    "LPR server", tcp(22334), SERVERS_ONLY, ["KRB"];
    "Device discovery", udp(3702), "cameras are not for remote clients", ["general"];
    "Device discovery", tcp(3702), "cameras are not for remote clients", ["general"];
    "Frigate without log-in", tcp(5000), "unauthenticated", ["FRI"];
    "Genetec video", udp_range(6000, 6500), "the vendor advises against exposing it", ["GEN"];
    "Genetec video", udp_range(15000, 19999), "the vendor advises against exposing it", ["GEN"];
    "Remote Desktop", tcp(3389), WINDOWS, ["HG-ms", "general"];
    "Remote Desktop", udp(3389), WINDOWS, ["HG-ms", "general"];
    "SMB", tcp(139), WINDOWS, ["HG-ms", "general"];
    "SMB", udp_range(137, 138), WINDOWS, ["HG-ms", "general"];
    "SMB", tcp(445), WINDOWS, ["HG-ms", "general"];
    "SMB", udp(445), WINDOWS, ["HG-ms", "general"];
    "Windows RPC", tcp(135), WINDOWS, ["HG-ms", "general"];
    "Windows RPC", udp(135), WINDOWS, ["HG-ms", "general"];
    "WinRM", tcp_range(5985, 5986), WINDOWS, ["HG-ms", "general"];
    "SSH", tcp(22), "administration, not video", ["general"];
    "Kerberos", tcp(88), DOMAIN, ["KRB"];
    "Kerberos", udp(88), DOMAIN, ["KRB"];
    "LDAP", tcp(389), DOMAIN, ["general"];
    "LDAP", udp(389), DOMAIN, ["general"];
    "LDAPS", tcp(636), DOMAIN, ["general"];
    "Kerberos password change", tcp(464), DOMAIN, ["general"];
    "Kerberos password change", udp(464), DOMAIN, ["general"];
    "Windows RPC dynamic range", tcp_range(49152, 65535), WINDOWS, ["HG-ms", "general"];
    "Windows RPC dynamic range", udp_range(49152, 65535), WINDOWS, ["HG-ms", "general"];
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_entry_names_the_reason() {
        let name = |protocol, port| never_expose(protocol, port).map(|entry| entry.name);
        assert_eq!(name(Protocol::Tcp, 5602), Some("Genetec Telnet console"));
        assert_eq!(name(Protocol::Tcp, 5601), Some("Management failover cluster"));
        assert_eq!(name(Protocol::Udp, 65101), Some("Recorder driver events"));
        assert_eq!(name(Protocol::Udp, 7563), None);
    }
}
