//! The table of every section and key: what reading, the environment and `docs/configuration.md` follow.

use super::schema::Absent::{Default, Nothing, Required};
use super::schema::{Key, Kind, Section, Shape};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Bits per second: below the least a single camera would not fit, and the most is more than a client's line.
const RATES: (u64, u64) = (64_000, 10_000_000_000);

/// Makes a module of [`Key`] constants and the [`Section`] that lists them all. A row is: constant, key, kind,
/// range, what holds when it is absent, example; meaning.
macro_rules! section {
    (
        $module:ident, $section:literal, $shape:ident, $about:literal;
        $($constant:ident, $key:literal, $kind:ident, $range:expr, $absent:expr, $example:literal, $meaning:literal;)+
    ) => {
        pub(crate) mod $module {
            use super::*;

            $(pub(crate) const $constant: Key = Key {
                name: $key,
                kind: Kind::$kind,
                range: $range,
                absent: $absent,
                example: $example,
                meaning: $meaning,
            };)+

            pub(crate) const SECTION: Section = Section {
                name: $section,
                shape: Shape::$shape,
                meaning: $about,
                keys: &[$($constant),+],
            };
        }
    };
}

section! {
    gateway, "gateway", Once,
        "The gateway itself.";

    NAME, "name", Name, None, Required, "\"gw-1\"",
        "The gateway in records, and the name of its audit chain: give every gateway its own, and keep \
         it.";
    LISTEN, "listen", SocketAddresses, None, Default("0.0.0.0:51820"), "\"0.0.0.0:51820\"",
        "UDP addresses for tunnels; the only ports the internet needs to reach. `[::]:51820` takes IPv6 \
         and IPv4.";
    ENDPOINT, "endpoint", Endpoints, None, Required, "\"vpn.example.org:51820\"",
        "Where clients connect to, as written into profiles, in order of preference; a list for several \
         gateways.";
    CONTACT, "contact", Text, None, Nothing, "\"VMS operations, +45 12 34 56 78\"",
        "Whom the people at the clients ask when their access has ended or does not work, at most 100 \
         characters; the shim shows it.";
    TUNNEL, "tunnel", Networks, None, Required, "[\"10.99.0.0/16\", \"fd00:99::/64\"]",
        "Where client addresses come from: one IPv4 range, one IPv6 range, or one of each. The first host \
         address of a range is the gateway's own. Ranges that no site uses, so that no client's home \
         network collides.";
    DATA, "data", Path, None, Default("/var/lib/vmsgate"), "\"/var/lib/vmsgate\"",
        "Directory of `vmsgate.db` (registry and audit log, SQLite), `keystore` and `control.sock`. \
         `--data` and `VMSGATE_DATA` win over it.";
    EGRESS, "egress", Choice, None, Default("proxy"), "\"proxy\"",
        "How allowed packets reach the servers. `proxy`: ordinary sockets, no privileges. `tun`: the kernel \
         routes them, at the lowest cost per packet; needs `CAP_NET_ADMIN`, `/dev/net/tun` and IP forwarding.";
    INTERFACE, "interface", Name, None, Default("vmsgate0"), "\"vmsgate0\"",
        "Egress `tun`: the network interface that the gateway makes, at most 15 characters.";
    MASQUERADE, "masquerade", Flag, None, Default("true"), "true",
        "Egress `tun`: whether the servers see the gateway's address (`true`) or each client's own tunnel \
         address (`false`). Without it the recording network needs a route to the tunnel ranges by way of the \
         gateway, and the tunnel ranges belong in XProtect's \"local IP ranges\"; with it the kernel chooses the \
         port on the recording network and a flow's record does not have it.";
    WORKERS, "workers", Count, Some((0, 64)), Default("0"), "0",
        "Threads that move packets, each with its own sockets and its own share of the clients. 0: one per \
         processor core.";
    MTU, "mtu", Count, Some((1280, 9000)), Default("1420"), "1420",
        "Largest IP packet inside the tunnel, in bytes; it goes into profiles. 1420 fits a 1500-byte path \
         over IPv6. IPv6 needs 1280 (RFC 8200); 9000 is a jumbo frame. Lower it to 1280 if pages load and \
         video stalls.";
    ON_DENIED, "on-denied", Choice, None, Default("reject"), "\"reject\"",
        "What a client sees of a refused attempt. `reject`: an error at once. `drop`: silence.";
}

section! {
    server, "server", Repeated,
        "A machine of the recording network, once per machine. Nothing else there is reachable.";

    NAME, "name", Name, None, Required, "\"rec01\"",
        "The server in rules and records. Also a DNS name inside the tunnel, if it can be one.";
    ADDRESS, "address", Addresses, None, Required, "\"192.168.10.21\"",
        "Its addresses on the recording network.";
    HOSTNAMES, "hostnames", HostNames, None, Nothing, "[\"rec01.vms.local\"]",
        "The names that the VMS uses for it, short and full: clients dial the names that the management \
         server hands out. Answered by the gateway's DNS to clients whose role reaches the server.";
    SERVICES, "services", Names, None, Nothing, "[\"recording-server\"]",
        "What it runs, from the catalogue below or a `[service.NAME]`.";
    EXPOSE_ANYWAY, "expose-anyway", Exposures, None, Nothing, "[{ port = \"tcp/1433\", reason = \"…\" }]",
        "Ports of the never-expose list that roles may open on this server all the same, each with the \
         reason. A port may be a range: `tcp/50000-50010`.";
}

section! {
    exposure, "expose-anyway", Repeated,
        "An exception from the never-expose list.";

    PORT, "port", Ports, None, Required, "\"tcp/1433\"",
        "The port.";
    REASON, "reason", Text, None, Required, "\"…\"",
        "Why.";
}

section! {
    service, "service", Named,
        "A service of the site's own. One with the name of a built-in service takes its place everywhere.";

    TCP, "tcp", Ports, None, Nothing, "[554, \"8000-8010\"]",
        "TCP ports.";
    UDP, "udp", Ports, None, Nothing, "[554, \"8000-8010\"]",
        "UDP ports.";
    REQUIRE_TLS, "require-tls", Flag, None, Default("false"), "true",
        "Whether its TCP ports take TLS alone. A connection that begins with anything else, or where the server \
         speaks first, is cut before the server gets clear text (at most five bytes that could begin a TLS record), \
         and recorded as `tls-required`. UDP is not looked into. A built-in service keeps its ports when none are \
         written.";
    DESCRIPTION, "description", Text, None, Nothing, "\"Door station\"",
        "For people.";
}

section! {
    role, "role", Named,
        "What a client may reach. A role with the name of a built-in role takes its place.";

    ALLOW, "allow", Rules, None, Required, "[\"rec*:recording-server\"]",
        "What the role reaches. In the pattern `*` is any text and `?` any one character; as the service, \
         `*` is every service that the server runs. Only services that the server lists are ever opened.";
    DESCRIPTION, "description", Text, None, Nothing, "\"Night shift\"",
        "For people.";
    ICMP, "icmp", Flag, None, Default("true"), "true",
        "Whether the role may ping the servers that it reaches.";
    REQUIRE_TLS, "require-tls", Flag, None, Default("false"), "true",
        "Whether everything that the role reaches over TCP must be TLS, as with a service's `require-tls`. UDP is not \
         looked into.";
    EXPIRES, "expires", Duration, Some((3600, 3650 * DAY)), Nothing, "\"90d\"",
        "How long after it was added a client of the role may connect, unless `--expires` says otherwise. Not \
         written: for ever.";
    REQUIRE_POST_QUANTUM, "require-post-quantum", Flag, None, Default("false"), "true",
        "Whether a client of the role reaches servers only while its session is under a pre-shared key agreed with \
         ML-KEM-768. The shim agrees on one by itself; stock WireGuard clients cannot, and reach nothing.";
    BANDWIDTH_DOWN, "bandwidth-down", Rate, Some(RATES), Nothing, "\"20Mbit/s\"",
        "What each client of the role may receive, shared fairly among its connections. Not written: what `[limits]` says. \
         See limits.md.";
    BANDWIDTH_UP, "bandwidth-up", Rate, Some(RATES), Nothing, "\"5Mbit/s\"",
        "What each client of the role may send. Not written: what `[limits]` says.";
}

section! {
    keys, "keys", Once,
        "How long keys live. See keys.md.";

    CLIENT_MAX_AGE, "client-max-age", Duration, Some((3600, 3650 * DAY)), Nothing, "\"90d\"",
        "The age at which a client's key is to be replaced. A shim does it by itself before, without an \
         interruption; a stock client needs `vmsgate-keys client rotate`. Not written: keys do not age.";
    PQ_INTERVAL, "pq-interval", Duration, Some((MINUTE, DAY)), Default("1h"), "\"1h\"",
        "How often a shim and the gateway agree on a fresh pre-shared key with ML-KEM-768.";
}

section! {
    proxy, "proxy", Once,
        "How allowed flows are carried to the servers.";

    CONNECT_TIMEOUT, "connect-timeout", Duration, Some((1, MINUTE)), Default("10s"), "\"10s\"",
        "How long a server may take to answer a connection attempt before the client is told that it does \
         not.";
    SOURCE_POOL, "source-pool", AddressRanges, Some((1, 65_536)), Nothing, "[\"192.168.10.200-192.168.10.240\"]",
        "Addresses of this host on the recording network. Each client leaves from its own, so that the \
         VMS's own log tells users apart. At most 65536 in all. Not written: the host chooses, the same \
         for everyone.";
    IDLE_TCP_ESTABLISHED, "idle-tcp-established", Duration, Some((MINUTE, 7 * DAY)), Default("12h"), "\"12h\"",
        "How long an established TCP flow may be silent. Hours: a camera that streams on motion only is \
         quiet for long.";
    IDLE_TCP_HALF_OPEN, "idle-tcp-half-open", Duration, Some((5, HOUR)), Default("1m"), "\"1m\"",
        "How long a TCP flow that is opening or closing may be silent.";
    IDLE_UDP, "idle-udp", Duration, Some((5, HOUR)), Default("2m"), "\"2m\"",
        "How long a UDP flow may be silent.";
    IDLE_ICMP, "idle-icmp", Duration, Some((1, 10 * MINUTE)), Default("30s"), "\"30s\"",
        "How long an ICMP echo flow may be silent.";
    CLIENT_MEMORY, "client-memory", Size, Some((MIB, 64 * GIB)), Default("256MiB"), "\"256MiB\"",
        "Buffer memory that the TCP flows of one client may reserve. A flow reserves 4 MiB per \
         direction while a seventh of this and of the total has room for it, 2 MiB while two sevenths have, and so on \
         by halves down to 64 KiB; then new flows of the client are refused.";
    TOTAL_MEMORY, "total-memory", Size, Some((16 * MIB, 1024 * GIB)), Default("1GiB"), "\"1GiB\"",
        "Buffer memory that all TCP flows together may reserve. **Keep it below the memory limit of the \
         container**; memory that nothing was sent through is reserved, not used.";
}

section! {
    limits, "limits", Once,
        "Bounds that keep one client, or the internet, from using up the gateway.";

    FLOWS_PER_CLIENT, "flows-per-client", Count, Some((16, 65_536)), Default("1024"), "1024",
        "Live flows of one client. A wall of 16 cameras with audio is some tens. At the limit the flow that \
         was idle longest gives way.";
    FLOWS_TOTAL, "flows-total", Count, Some((16, 1_048_576)), Default("65536"), "65536",
        "Live flows in all. The proxy holds one socket per flow: the open-files limit must allow as many.";
    NEW_FLOWS_PER_SECOND, "new-flows-per-second", Count, Some((1, 65_536)), Default("100"), "100",
        "New flows per second of one client, with bursts of five times as many. What is above is dropped and on \
         record; a TCP connection asks again after a second, so a crowd of them is spread.";
    BANDWIDTH_DOWN, "bandwidth-down", Rate, Some(RATES), Nothing, "\"50Mbit/s\"",
        "What each client may receive, shared fairly among its connections, unless its role says otherwise. Not written: as \
         much as there is. See limits.md.";
    BANDWIDTH_UP, "bandwidth-up", Rate, Some(RATES), Nothing, "\"10Mbit/s\"",
        "What each client may send, unless its role says otherwise. Not written: as much as there is.";
    HANDSHAKES_PER_SOURCE, "handshakes-per-source", Count, Some((1, 1000)), Default("5"), "5",
        "Handshakes per second from one source (an IPv4 address or an IPv6 /64) before it must prove its \
         address with a cookie. Raise it if many clients share one address.";
    HANDSHAKES_TOTAL, "handshakes-total", Count, Some((10, 100_000)), Default("1000"), "1000",
        "Handshakes per second in all before every source must prove its address.";
}

section! {
    audit, "audit", Once,
        "The audit log.";

    QUEUE, "queue", Count, Some((1024, 1_048_576)), Default("65536"), "65536",
        "Audit records that may wait to be written. From three quarters of it on, new flows are refused; \
         records are never dropped.";
    DURABILITY, "durability", Choice, None, Default("before-forward"), "\"before-forward\"",
        "When the record of a new flow is on disk. `before-forward`: before the flow's first packet leaves the \
         gateway. `200ms`: at most so much later, which spares each new connection the wait for the disk.";
    ON_FAILURE, "on-failure", Choice, None, Default("refuse"), "\"refuse\"",
        "What becomes of new flows while records cannot be written. `refuse`: they are refused, and live ones are \
         cut after `failure-grace`. `continue`: everything goes on, and a record tells how many records are \
         missing and from when to when.";
    FAILURE_GRACE, "failure-grace", Duration, Some((1, DAY)), Default("15m"), "\"15m\"",
        "How long live flows go on with `on-failure = \"refuse\"` while records cannot be written.";
    RETENTION_SESSIONS, "retention-sessions", Duration, Some((0, 3650 * DAY)), Default("180d"), "\"180d\"",
        "How long records of sessions are kept, at least a day; `0s` keeps them for ever. Once a day the gateway \
         deletes what is older and leaves a signed tombstone, so that the log still verifies.";
    RETENTION_FLOWS, "retention-flows", Duration, Some((0, 3650 * DAY)), Default("180d"), "\"180d\"",
        "How long records of flows are kept; see `retention-sessions`.";
    RETENTION_DENIALS, "retention-denials", Duration, Some((0, 3650 * DAY)), Default("180d"), "\"180d\"",
        "How long records of what was refused are kept; see `retention-sessions`.";
    RETENTION_HANDSHAKES, "retention-handshakes", Duration, Some((0, 3650 * DAY)), Default("180d"), "\"180d\"",
        "How long records of rejected handshakes are kept; see `retention-sessions`.";
    RETENTION_GATEWAY, "retention-gateway", Duration, Some((0, 3650 * DAY)), Default("730d"), "\"730d\"",
        "How long records of the gateway's own starts, stops and configurations, and signed checkpoints, are \
         kept; see `retention-sessions`.";
    RETENTION_ADMIN, "retention-admin", Duration, Some((0, 3650 * DAY)), Default("730d"), "\"730d\"",
        "How long records of administrative acts are kept; see `retention-sessions`.";
}

section! {
    ship, "ship", Repeated,
        "A receiver that the audit log is sent to as it is written, once per receiver. The log itself stays in \
         the database; a receiver that is slow or away never holds up the gateway. See shipping.md.";

    NAME, "name", Name, None, Required, "\"siem\"",
        "The receiver in `vmsgate status`, and what its place in the log is remembered under: with another name \
         the whole log is sent again.";
    TO, "to", Receiver, None, Required, "\"syslog+tls://siem.example.org:6514\"",
        "Where, and how: `syslog+tcp`, `syslog+tls` and `syslog+udp` (RFC 5424), `otlp+http` and `otlp+https` \
         (OpenTelemetry logs as JSON, path `/v1/logs` unless another is written). Over UDP records get lost \
         without a trace: prefer any other. TLS trusts the certificate authorities of this host.";
    HEADERS_FILE, "headers-file", Path, None, Nothing, "\"/etc/vmsgate/siem.headers\"",
        "OTLP only: a file with a header per line, `Authorization: Bearer …`, for a receiver that wants a \
         secret. Let nobody but the gateway's user read it. It is read anew at each connection.";
    KINDS, "kinds", Kinds, None, Nothing, "[\"session.*\", \"admin.*\"]",
        "Which kinds of records are sent; `*` is any text. Not written: all, and only then is the copy complete.";
}

section! {
    admin, "admin", Once,
        "Health and metrics for the platform that runs the gateway.";

    LISTEN, "listen", SocketAddress, None, Default("127.0.0.1:9586"), "\"127.0.0.1:9586\"",
        "TCP address of `/healthz`, `/readyz` and `/metrics`. **They ask for no password**: keep it on loopback or a \
         management network.";
}

section! {
    dns, "dns", Once,
        "Names inside the tunnel. Only the names of servers that the client's role reaches are answered.";

    SUFFIX, "suffix", HostName, None, Nothing, "\"vms.local\"",
        "The site's domain: single-label server names are also answered with it appended.";
    TTL, "ttl", Duration, Some((1, DAY)), Default("1m"), "\"1m\"",
        "How long clients may remember an answer.";
}

/// Every section, in the order of the documentation.
pub(crate) const SECTIONS: &[Section] = &[
    gateway::SECTION,
    server::SECTION,
    service::SECTION,
    role::SECTION,
    keys::SECTION,
    proxy::SECTION,
    limits::SECTION,
    audit::SECTION,
    ship::SECTION,
    admin::SECTION,
    dns::SECTION,
];
