//! Every section and key there is. Reading, the environment and `docs/configuration.md` all follow this table.

use super::units::{format_duration, format_size};

/// How often a section occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[gateway]`
    Once,
    /// `[[server]]`
    Repeated,
    /// `[role.NAME]`
    Named,
}

#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) meaning: &'static str,
    pub(crate) keys: &'static [Key],
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Text,
    Path,
    Choice,
    Flag,
    Duration,
    Size,
    Count,
    SocketAddress,
    SocketAddresses,
    Endpoints,
    Networks,
    AddressRanges,
    Addresses,
    HostName,
    HostNames,
    Names,
    Ports,
    Rules,
    Exposures,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It must be written.
    Required,
    /// Nothing; the key has no effect.
    Nothing,
    /// As if this had been written.
    Default(&'static str),
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Lowest and highest: seconds, bytes or a count, as [`Kind`] says.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) absent: Absent,
    /// A value as it is written in the file.
    pub(crate) example: &'static str,
    pub(crate) meaning: &'static str,
}

impl Section {
    /// As written in the file.
    pub(crate) fn title(&self) -> String {
        match self.shape {
            Shape::Once => format!("[{}]", self.name),
            Shape::Repeated => format!("[[{}]]", self.name),
            Shape::Named => format!("[{}.NAME]", self.name),
        }
    }
}

impl Key {
    /// The range in words, e.g. `1s to 1m`.
    pub(crate) fn range_text(&self) -> Option<String> {
        let (lowest, highest) = self.range?;
        let format = |number: u64| match self.kind {
            Kind::Duration => format_duration(number),
            Kind::Size => format_size(number),
            _ => number.to_string(),
        };
        Some(format!("{} to {}", format(lowest), format(highest)))
    }
}

impl Kind {
    /// Whether the key holds one or a list of the same.
    pub(crate) fn is_list(self) -> bool {
        match self {
            Self::SocketAddresses
            | Self::Endpoints
            | Self::Networks
            | Self::AddressRanges
            | Self::Addresses
            | Self::HostNames
            | Self::Names
            | Self::Ports
            | Self::Rules
            | Self::Exposures => true,
            Self::Name
            | Self::Text
            | Self::Path
            | Self::Choice
            | Self::Flag
            | Self::Duration
            | Self::Size
            | Self::Count
            | Self::SocketAddress
            | Self::HostName => false,
        }
    }

    /// The type and unit in words, for the documentation.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Text => "text",
            Self::Path => "path",
            Self::Choice => "one word",
            Self::Flag => "`true` or `false`",
            Self::Duration => "duration (`d`, `h`, `m`, `s`)",
            Self::Size => "size (`KiB`, `MiB`, `GiB`)",
            Self::Count => "whole number",
            Self::SocketAddress => "`ADDRESS:PORT`",
            Self::SocketAddresses => "`ADDRESS:PORT`, one or a list",
            Self::Endpoints => "`HOST:PORT`, one or a list",
            Self::Networks => "CIDR range, one or a list",
            Self::AddressRanges => "`FIRST-LAST`, CIDR range or address, one or a list",
            Self::Addresses => "IP address, one or a list",
            Self::HostName => "host name",
            Self::HostNames => "host name, one or a list",
            Self::Names => "name, one or a list",
            Self::Ports => "port or `\"FIRST-LAST\"`, one or a list",
            Self::Rules => "`SERVER-PATTERN:SERVICE`, one or a list",
            Self::Exposures => "list of `{ port, reason }`",
        }
    }
}

/// Short names for the table below, whose rows are read as text.
macro_rules! key {
    ($constant:ident, $name:literal, $kind:ident, $range:expr, $absent:expr, $example:literal, $meaning:literal) => {
        pub(crate) const $constant: Key = Key {
            name: $name,
            kind: Kind::$kind,
            range: $range,
            absent: $absent,
            example: $example,
            meaning: $meaning,
        };
    };
}

const REQUIRED: Absent = Absent::Required;
const NOTHING: Absent = Absent::Nothing;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `[gateway]`
pub(crate) mod gateway {
    use super::*;

    key!(
        NAME,
        "name",
        Name,
        None,
        REQUIRED,
        "\"gw-1\"",
        "The gateway in records, and the name of its audit chain: give every gateway its own, and keep it."
    );
    key!(
        LISTEN,
        "listen",
        SocketAddresses,
        None,
        Absent::Default("0.0.0.0:51820"),
        "\"0.0.0.0:51820\"",
        "UDP addresses for tunnels; the only ports the internet needs to reach. `[::]:51820` takes IPv6 and IPv4."
    );
    key!(
        ENDPOINT,
        "endpoint",
        Endpoints,
        None,
        REQUIRED,
        "\"vpn.example.org:51820\"",
        "Where clients connect to, as written into profiles, in order of preference; a list for several gateways."
    );
    key!(
        TUNNEL,
        "tunnel",
        Networks,
        None,
        REQUIRED,
        "[\"10.99.0.0/16\", \"fd00:99::/64\"]",
        "Where client addresses come from: one IPv4 range, one IPv6 range, or one of each. The first host address \
         of a range is the gateway's own. Ranges that no site uses, so that no client's home network collides."
    );
    key!(
        DATA,
        "data",
        Path,
        None,
        Absent::Default("/var/lib/vmsgate"),
        "\"/var/lib/vmsgate\"",
        "Directory of `vmsgate.db` (registry and audit log, SQLite), `keystore` and `control.sock`. `--data` and \
         `VMSGATE_DATA` win over it."
    );
    key!(
        EGRESS,
        "egress",
        Choice,
        None,
        Absent::Default("proxy"),
        "\"proxy\"",
        "How allowed packets reach the servers. `proxy`: ordinary sockets, no privileges."
    );
    key!(
        MTU,
        "mtu",
        Count,
        Some((1280, 9000)),
        Absent::Default("1420"),
        "1420",
        "Largest IP packet inside the tunnel, in bytes; it goes into profiles. 1420 fits a 1500-byte path over \
         IPv6. IPv6 needs 1280 (RFC 8200); 9000 is a jumbo frame. Lower it to 1280 if pages load and video stalls."
    );
    key!(
        ON_DENIED,
        "on-denied",
        Choice,
        None,
        Absent::Default("reject"),
        "\"reject\"",
        "What a client sees of a refused attempt. `reject`: an error at once. `drop`: silence."
    );

    pub(crate) const SECTION: Section = Section {
        name: "gateway",
        shape: Shape::Once,
        meaning: "The gateway itself.",
        keys: &[NAME, LISTEN, ENDPOINT, TUNNEL, DATA, EGRESS, MTU, ON_DENIED],
    };
}

/// `[[server]]`
pub(crate) mod server {
    use super::*;

    key!(
        NAME,
        "name",
        Name,
        None,
        REQUIRED,
        "\"rec01\"",
        "The server in rules and records. Also a DNS name inside the tunnel, if it can be one."
    );
    key!(
        ADDRESS,
        "address",
        Addresses,
        None,
        REQUIRED,
        "\"192.168.10.21\"",
        "Its addresses on the recording network."
    );
    key!(
        HOSTNAMES,
        "hostnames",
        HostNames,
        None,
        NOTHING,
        "[\"rec01.vms.local\"]",
        "The names that the VMS uses for it, short and full: clients dial the names that the management server \
         hands out. Answered by the gateway's DNS to clients whose role reaches the server."
    );
    key!(
        SERVICES,
        "services",
        Names,
        None,
        NOTHING,
        "[\"recording-server\"]",
        "What it runs, from the catalogue below or a `[service.NAME]`."
    );
    key!(
        EXPOSE_ANYWAY,
        "expose-anyway",
        Exposures,
        None,
        NOTHING,
        "[{ port = \"tcp/1433\", reason = \"…\" }]",
        "Ports of the never-expose list that roles may open on this server all the same, each with the reason. A \
         port may be a range: `tcp/50000-50010`."
    );

    pub(crate) const SECTION: Section = Section {
        name: "server",
        shape: Shape::Repeated,
        meaning: "A machine of the recording network, once per machine. Nothing else there is reachable.",
        keys: &[NAME, ADDRESS, HOSTNAMES, SERVICES, EXPOSE_ANYWAY],
    };
}

/// An entry of `expose-anyway`
pub(crate) mod exposure {
    use super::*;

    key!(PORT, "port", Ports, None, REQUIRED, "\"tcp/1433\"", "The port.");
    key!(REASON, "reason", Text, None, REQUIRED, "\"…\"", "Why.");

    pub(crate) const SECTION: Section = Section {
        name: "expose-anyway",
        shape: Shape::Repeated,
        meaning: "An exception from the never-expose list.",
        keys: &[PORT, REASON],
    };
}

/// `[service.NAME]`
pub(crate) mod service {
    use super::*;

    key!(TCP, "tcp", Ports, None, NOTHING, "[554, \"8000-8010\"]", "TCP ports.");
    key!(UDP, "udp", Ports, None, NOTHING, "[554, \"8000-8010\"]", "UDP ports.");
    key!(DESCRIPTION, "description", Text, None, NOTHING, "\"Door station\"", "For people.");

    pub(crate) const SECTION: Section = Section {
        name: "service",
        shape: Shape::Named,
        meaning: "A service of the site's own. One with the name of a built-in service takes its place everywhere.",
        keys: &[TCP, UDP, DESCRIPTION],
    };
}

/// `[role.NAME]`
pub(crate) mod role {
    use super::*;

    key!(
        ALLOW,
        "allow",
        Rules,
        None,
        REQUIRED,
        "[\"rec*:recording-server\"]",
        "What the role reaches. In the pattern `*` is any text and `?` any one character; as the service, `*` \
         is every service that the server runs. Only services that the server lists are ever opened."
    );
    key!(DESCRIPTION, "description", Text, None, NOTHING, "\"Night shift\"", "For people.");
    key!(
        ICMP,
        "icmp",
        Flag,
        None,
        Absent::Default("true"),
        "true",
        "Whether the role may ping the servers that it reaches."
    );

    pub(crate) const SECTION: Section = Section {
        name: "role",
        shape: Shape::Named,
        meaning: "What a client may reach. A role with the name of a built-in role takes its place.",
        keys: &[ALLOW, DESCRIPTION, ICMP],
    };
}

/// `[proxy]`
pub(crate) mod proxy {
    use super::*;

    key!(
        CONNECT_TIMEOUT,
        "connect-timeout",
        Duration,
        Some((1, MINUTE)),
        Absent::Default("10s"),
        "\"10s\"",
        "How long a server may take to answer a connection attempt before the client is told that it does not."
    );
    key!(
        SOURCE_POOL,
        "source-pool",
        AddressRanges,
        Some((1, 65_536)),
        NOTHING,
        "[\"192.168.10.200-192.168.10.240\"]",
        "Addresses of this host on the recording network. Each client leaves from its own, so that the VMS's own \
         log tells users apart. At most 65536 in all. Not written: the host chooses, the same for everyone."
    );
    key!(
        IDLE_TCP_ESTABLISHED,
        "idle-tcp-established",
        Duration,
        Some((MINUTE, 7 * DAY)),
        Absent::Default("12h"),
        "\"12h\"",
        "How long an established TCP flow may be silent. Hours: a camera that streams on motion only is quiet for long."
    );
    key!(
        IDLE_TCP_HALF_OPEN,
        "idle-tcp-half-open",
        Duration,
        Some((5, HOUR)),
        Absent::Default("1m"),
        "\"1m\"",
        "How long a TCP flow that is opening or closing may be silent."
    );
    key!(
        IDLE_UDP,
        "idle-udp",
        Duration,
        Some((5, HOUR)),
        Absent::Default("2m"),
        "\"2m\"",
        "How long a UDP flow may be silent."
    );
    key!(
        IDLE_ICMP,
        "idle-icmp",
        Duration,
        Some((1, 10 * MINUTE)),
        Absent::Default("30s"),
        "\"30s\"",
        "How long an ICMP echo flow may be silent."
    );
    key!(
        CLIENT_MEMORY,
        "client-memory",
        Size,
        Some((MIB, 64 * GIB)),
        Absent::Default("256MiB"),
        "\"256MiB\"",
        "Buffer memory that the TCP flows of one client may reserve. A flow reserves up to 4 MiB per direction, \
         less as this or the total fills, down to 64 KiB; then new flows of the client are refused."
    );
    key!(
        TOTAL_MEMORY,
        "total-memory",
        Size,
        Some((16 * MIB, 1024 * GIB)),
        Absent::Default("1GiB"),
        "\"1GiB\"",
        "Buffer memory that all TCP flows together may reserve. **Keep it below the memory limit of the container**; \
         memory that nothing was sent through is reserved, not used."
    );

    pub(crate) const SECTION: Section = Section {
        name: "proxy",
        shape: Shape::Once,
        meaning: "How allowed flows are carried to the servers.",
        keys: &[
            CONNECT_TIMEOUT,
            SOURCE_POOL,
            IDLE_TCP_ESTABLISHED,
            IDLE_TCP_HALF_OPEN,
            IDLE_UDP,
            IDLE_ICMP,
            CLIENT_MEMORY,
            TOTAL_MEMORY,
        ],
    };
}

/// `[limits]`
pub(crate) mod limits {
    use super::*;

    key!(
        FLOWS_PER_CLIENT,
        "flows-per-client",
        Count,
        Some((16, 65_536)),
        Absent::Default("1024"),
        "1024",
        "Live flows of one client. A wall of 16 cameras with audio is some tens."
    );
    key!(
        FLOWS_TOTAL,
        "flows-total",
        Count,
        Some((16, 1_048_576)),
        Absent::Default("65536"),
        "65536",
        "Live flows in all. The proxy holds one socket per flow: the open-files limit must allow as many."
    );
    key!(
        HANDSHAKES_PER_SOURCE,
        "handshakes-per-source",
        Count,
        Some((1, 1000)),
        Absent::Default("5"),
        "5",
        "Handshakes per second from one source (an IPv4 address or an IPv6 /64) before it must prove its address \
         with a cookie. Raise it if many clients share one address."
    );
    key!(
        HANDSHAKES_TOTAL,
        "handshakes-total",
        Count,
        Some((10, 100_000)),
        Absent::Default("1000"),
        "1000",
        "Handshakes per second in all before every source must prove its address."
    );

    pub(crate) const SECTION: Section = Section {
        name: "limits",
        shape: Shape::Once,
        meaning: "Bounds that keep one client, or the internet, from using up the gateway.",
        keys: &[FLOWS_PER_CLIENT, FLOWS_TOTAL, HANDSHAKES_PER_SOURCE, HANDSHAKES_TOTAL],
    };
}

/// `[audit]`
pub(crate) mod audit {
    use super::*;

    key!(
        QUEUE,
        "queue",
        Count,
        Some((1024, 1_048_576)),
        Absent::Default("65536"),
        "65536",
        "Audit records that may wait to be written. From three quarters of it on, new flows are refused; records \
         are never dropped."
    );

    pub(crate) const SECTION: Section =
        Section { name: "audit", shape: Shape::Once, meaning: "The audit log.", keys: &[QUEUE] };
}

/// `[admin]`
pub(crate) mod admin {
    use super::*;

    key!(
        LISTEN,
        "listen",
        SocketAddress,
        None,
        Absent::Default("127.0.0.1:9586"),
        "\"127.0.0.1:9586\"",
        "TCP address of `/healthz` and `/readyz`. **They ask for no password**: keep it on loopback or a \
         management network."
    );

    pub(crate) const SECTION: Section = Section {
        name: "admin",
        shape: Shape::Once,
        meaning: "Health for the platform that runs the gateway.",
        keys: &[LISTEN],
    };
}

/// `[dns]`
pub(crate) mod dns {
    use super::*;

    key!(
        SUFFIX,
        "suffix",
        HostName,
        None,
        NOTHING,
        "\"vms.local\"",
        "The site's domain: single-label server names are also answered with it appended."
    );
    key!(
        TTL,
        "ttl",
        Duration,
        Some((1, DAY)),
        Absent::Default("1m"),
        "\"1m\"",
        "How long clients may remember an answer."
    );

    pub(crate) const SECTION: Section = Section {
        name: "dns",
        shape: Shape::Once,
        meaning: "Names inside the tunnel. Only the names of servers that the client's role reaches are answered.",
        keys: &[SUFFIX, TTL],
    };
}

/// Every section, in the order of the documentation.
pub(crate) const SECTIONS: &[Section] = &[
    gateway::SECTION,
    server::SECTION,
    service::SECTION,
    role::SECTION,
    proxy::SECTION,
    limits::SECTION,
    audit::SECTION,
    admin::SECTION,
    dns::SECTION,
];
