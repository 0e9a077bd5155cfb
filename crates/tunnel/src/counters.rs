//! What was dropped, by reason, and what passed. Plain numbers, one set per worker, summed by readers.

/// Every reason for which a datagram or packet goes no further. Stable names, shown by `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Drop {
    /// Not a WireGuard message by kind and length.
    NotWireGuard,
    /// An initiation that no identity of ours is named in (mac1).
    UnknownIdentity,
    /// An initiation that asks for more than its source may.
    RateLimited,
    /// Answered with a cookie instead of a handshake.
    CookieDemanded,
    /// A handshake from a key that no client has, or may use now.
    HandshakeRejected,
    /// A message that does not authenticate.
    Forged,
    Replayed,
    /// No session with that receiver index.
    NoSession,
    /// A key pair at its message limit.
    KeyExhausted,
    /// An inner packet whose source address is not the client's own.
    SpoofedSource,
    BadLength,
    BadVersion,
    Fragment,
    IpOptions,
    BadChecksum,
    BadAddress,
    BadTransport,
    /// Policy refused the flow.
    Denied,
    /// On a flow that must be TLS, bytes from further on than those that tell.
    TlsNotToldYet,
    /// Above what the client's role may use.
    Bandwidth,
    /// A packet that belongs to no flow and may not open one.
    NoFlow,
    /// Outbound, but the client's address outside is not known.
    NoEndpoint,
    /// Another worker's, whose queue was full.
    HandoverFull,
    /// The kernel took no more packets for the recording network.
    EgressFull,
}

const NAMES: [&str; Drop::EgressFull as usize + 1] = [
    "not-wireguard",
    "unknown-identity",
    "rate-limited",
    "cookie-demanded",
    "handshake-rejected",
    "forged",
    "replayed",
    "no-session",
    "key-exhausted",
    "spoofed-source",
    "bad-length",
    "bad-ip-version",
    "fragment",
    "ip-options",
    "bad-checksum",
    "bad-address",
    "bad-transport-header",
    "denied",
    "tls-not-told-yet",
    "bandwidth",
    "no-flow",
    "no-endpoint",
    "handover-full",
    "egress-full",
];

/// One worker's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    drops: [u64; NAMES.len()],
    pub handshakes: u64,
    pub flows_opened: u64,
    /// Times that a flow which ends here waited for its turn within its client's bandwidth.
    pub turns_waited: u64,
    /// Datagrams and bytes from and to the internet, of authenticated clients only.
    pub traffic: crate::flow::Traffic,
}

impl Counters {
    pub fn count(&mut self, drop: Drop) {
        self.count_many(drop, 1);
    }

    pub fn count_many(&mut self, drop: Drop, packets: u64) {
        self.drops[drop as usize] += packets;
    }

    /// Adds another worker's numbers.
    pub fn add(&mut self, other: &Counters) {
        let Counters { drops, handshakes, flows_opened, turns_waited, traffic } = other;
        self.drops.iter_mut().zip(drops).for_each(|(own, other)| *own += other);
        self.handshakes += handshakes;
        self.flows_opened += flows_opened;
        self.turns_waited += turns_waited;
        self.traffic.add(*traffic);
    }

    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.iter().copied().zip(self.drops)
    }

    pub fn dropped(&self, drop: Drop) -> u64 {
        self.drops[drop as usize]
    }
}

impl From<crate::packet::Malformed> for Drop {
    fn from(why: crate::packet::Malformed) -> Self {
        use crate::packet::Malformed;
        match why {
            Malformed::Length => Drop::BadLength,
            Malformed::Version => Drop::BadVersion,
            Malformed::Fragment => Drop::Fragment,
            Malformed::Options => Drop::IpOptions,
            Malformed::Checksum => Drop::BadChecksum,
            Malformed::Address => Drop::BadAddress,
            Malformed::Transport => Drop::BadTransport,
        }
    }
}

impl From<crate::noise::Refused> for Drop {
    fn from(why: crate::noise::Refused) -> Self {
        use crate::noise::Refused;
        match why {
            Refused::Forged => Drop::Forged,
            Refused::Replayed => Drop::Replayed,
            Refused::Exhausted => Drop::KeyExhausted,
            Refused::NoSession => Drop::NoSession,
            Refused::NotIp => Drop::BadVersion,
        }
    }
}
