//! A bounds-checked view of one IP packet, as strict as a gateway can be.
//!
//! Only what the gateway forwards parses: whole IPv4 packets without options and whole IPv6 packets without
//! extension headers, carrying TCP, UDP, ICMP echo or an ICMP error, with every length and checksum right
//! (RFC 791, 8200, 9293, 768, 792, 4443, 1071). Everything else is a [`Malformed`] with its reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::{IpProtocol, checksum};

use crate::policy::Protocol;

/// Why a packet from inside a tunnel was not even looked up in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Shorter than its headers say, or longer than its total length.
    Length,
    /// Neither IPv4 nor IPv6.
    Version,
    /// A fragment, first or not: the gateway does not reassemble.
    Fragment,
    /// IPv4 options (source routing among them) or IPv6 extension headers.
    Options,
    /// A header or transport checksum is wrong.
    Checksum,
    /// A source or destination that no unicast flow has: multicast, broadcast, unspecified.
    Address,
    /// A TCP, UDP or ICMP header that contradicts itself.
    Transport,
}

impl Malformed {
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Length => "bad-length",
            Malformed::Version => "bad-ip-version",
            Malformed::Fragment => "fragment",
            Malformed::Options => "ip-options",
            Malformed::Checksum => "bad-checksum",
            Malformed::Address => "bad-address",
            Malformed::Transport => "bad-transport-header",
        }
    }
}

/// TCP flags that matter to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags {
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub ack: bool,
}

/// What the packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        source_port: u16,
        destination_port: u16,
        flags: TcpFlags,
        sequence: u32,
        acknowledgement: u32,
        payload_len: u32,
    },
    Udp {
        source_port: u16,
        destination_port: u16,
    },
    EchoRequest {
        identifier: u16,
    },
    EchoReply {
        identifier: u16,
    },
    /// An ICMP error about a packet of the flow that is named, seen from the sender of that packet.
    IcmpError {
        about: FiveTuple,
    },
    /// A transport protocol that the gateway does not forward, by its IP protocol number.
    Other(u8),
}

/// Source and destination of a flow. For ICMP echo both ports hold the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    pub protocol: Protocol,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

impl FiveTuple {
    pub fn reversed(self) -> FiveTuple {
        FiveTuple { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

/// A packet that holds what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub transport: Transport,
    bytes: &'a [u8],
    /// Where the IP payload begins: 20 (IPv4 without options) or 40 (IPv6 without extension headers).
    transport_at: usize,
    /// Where the TCP, UDP or ICMP payload begins.
    payload_at: usize,
}

impl<'a> Packet<'a> {
    /// Parses one whole packet. `bytes` must be exactly the packet, without padding.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        Packet::parse_with(bytes, Checksums::Verify)
    }

    /// Parses a packet whose checksums are ours, or left to an offload.
    pub fn parse_trusted(bytes: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        Packet::parse_with(bytes, Checksums::Trust)
    }

    fn parse_with(bytes: &'a [u8], checksums: Checksums) -> Result<Packet<'a>, Malformed> {
        let mut ip = Ip::parse(bytes)?;
        ip.checksums = checksums;
        check_unicast(ip.source)?;
        check_unicast(ip.destination)?;
        let body = bytes.get(ip.header..).ok_or(Malformed::Length)?;
        let (transport, header) = match ip.protocol {
            6 => parse_tcp(&ip, body)?,
            17 => parse_udp(&ip, body)?,
            1 if ip.source.is_ipv4() => parse_icmpv4(&ip, body)?,
            58 if ip.source.is_ipv6() => parse_icmpv6(&ip, body)?,
            other => (Transport::Other(other), 0),
        };
        Ok(Packet {
            source: ip.source,
            destination: ip.destination,
            transport,
            bytes,
            transport_at: ip.header,
            payload_at: ip.header + header,
        })
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// TCP, UDP or ICMP header and payload.
    pub fn transport_bytes(&self) -> &'a [u8] {
        self.bytes.get(self.transport_at..).unwrap_or_default()
    }

    /// Payload of TCP, UDP or an echo message.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.payload_at..).unwrap_or_default()
    }

    /// The flow the packet belongs to, seen from its sender; none for ICMP errors and foreign protocols.
    pub fn five_tuple(&self) -> Option<FiveTuple> {
        let (protocol, source, destination) = match self.transport {
            Transport::Tcp { source_port, destination_port, .. } => {
                (Protocol::Tcp, source_port, destination_port)
            }
            Transport::Udp { source_port, destination_port } => {
                (Protocol::Udp, source_port, destination_port)
            }
            Transport::EchoRequest { identifier } | Transport::EchoReply { identifier } => {
                (Protocol::Icmp, identifier, identifier)
            }
            Transport::IcmpError { .. } | Transport::Other(_) => return None,
        };
        Some(FiveTuple {
            protocol,
            source: SocketAddr::new(self.source, source),
            destination: SocketAddr::new(self.destination, destination),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checksums {
    Verify,
    Trust,
}

/// The IP header's facts.
struct Ip {
    checksums: Checksums,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    header: usize,
}

impl Ip {
    fn parse(bytes: &[u8]) -> Result<Ip, Malformed> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Ip::parse_v4(bytes, bytes.len()),
            Some(6) => Ip::parse_v6(bytes, bytes.len()),
            Some(_) => Err(Malformed::Version),
            None => Err(Malformed::Length),
        }
    }

    /// `whole`: the length that the header must claim; embedded packets in ICMP errors are cut short.
    fn parse_v4(bytes: &[u8], whole: usize) -> Result<Ip, Malformed> {
        let header: &[u8; 20] = bytes.first_chunk().ok_or(Malformed::Length)?;
        if header[0] & 0x0f != 5 {
            return Err(if header[0] & 0x0f > 5 { Malformed::Options } else { Malformed::Length });
        }
        if usize::from(be16(header, 2)) != whole {
            return Err(Malformed::Length);
        }
        let fragment = be16(header, 6);
        if fragment & 0x3fff != 0 {
            return Err(Malformed::Fragment);
        }
        if checksum::data(header) != !0 {
            return Err(Malformed::Checksum);
        }
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Ok(Ip {
            checksums: Checksums::Verify,
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
            protocol: header[9],
            header: 20,
        })
    }

    fn parse_v6(bytes: &[u8], whole: usize) -> Result<Ip, Malformed> {
        let header: &[u8; 40] = bytes.first_chunk().ok_or(Malformed::Length)?;
        if usize::from(be16(header, 4)) + 40 != whole {
            return Err(Malformed::Length);
        }
        let address = |at: usize| -> Result<IpAddr, Malformed> {
            let octets: [u8; 16] = header[at..at + 16].try_into().map_err(|_| Malformed::Length)?;
            Ok(Ipv6Addr::from(octets).into())
        };
        match header[6] {
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6 (IANA: IPv6 extension headers).
            0 | 43 | 60 | 135 | 139 | 140 => return Err(Malformed::Options),
            44 => return Err(Malformed::Fragment),
            _ => {}
        }
        Ok(Ip {
            checksums: Checksums::Verify,
            source: address(8)?,
            destination: address(24)?,
            protocol: header[6],
            header: 40,
        })
    }

    /// RFC 1071 sum over the pseudo header and `body`; all ones when right.
    fn transport_checksum(&self, protocol: IpProtocol, body: &[u8]) -> u16 {
        if self.checksums == Checksums::Trust {
            return !0;
        }
        let pseudo = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                checksum::pseudo_header_v4(&source, &destination, protocol, body.len() as u32)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                checksum::pseudo_header_v6(&source, &destination, protocol, body.len() as u32)
            }
            _ => 0,
        };
        checksum::combine(&[pseudo, checksum::data(body)])
    }
}

fn parse_tcp(ip: &Ip, body: &[u8]) -> Result<(Transport, usize), Malformed> {
    let header: &[u8; 20] = body.first_chunk().ok_or(Malformed::Length)?;
    let length = usize::from(header[12] >> 4) * 4;
    if length < 20 || length > body.len() {
        return Err(Malformed::Transport);
    }
    if ip.transport_checksum(IpProtocol::Tcp, body) != !0 {
        return Err(Malformed::Checksum);
    }
    let bit = |mask: u8| header[13] & mask != 0;
    let flags = TcpFlags { fin: bit(1), syn: bit(2), rst: bit(4), ack: bit(16) };
    let (source_port, destination_port) = ports(header)?;
    if flags.syn && (flags.fin || flags.rst) {
        return Err(Malformed::Transport);
    }
    let transport = Transport::Tcp {
        source_port,
        destination_port,
        flags,
        sequence: be32(header, 4),
        acknowledgement: be32(header, 8),
        payload_len: (body.len() - length) as u32,
    };
    Ok((transport, length))
}

fn parse_udp(ip: &Ip, body: &[u8]) -> Result<(Transport, usize), Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::Length)?;
    if usize::from(be16(header, 4)) != body.len() {
        return Err(Malformed::Length);
    }
    // RFC 768 lets IPv4 senders leave the checksum out; RFC 8200 does not let IPv6 senders.
    let absent = be16(header, 6) == 0;
    if (absent && ip.source.is_ipv6()) || (!absent && ip.transport_checksum(IpProtocol::Udp, body) != !0) {
        return Err(Malformed::Checksum);
    }
    let (source_port, destination_port) = ports(header)?;
    Ok((Transport::Udp { source_port, destination_port }, 8))
}

fn ports<const N: usize>(header: &[u8; N]) -> Result<(u16, u16), Malformed> {
    match (be16(header, 0), be16(header, 2)) {
        (0, _) | (_, 0) => Err(Malformed::Transport),
        ports => Ok(ports),
    }
}

fn parse_icmpv4(ip: &Ip, body: &[u8]) -> Result<(Transport, usize), Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::Length)?;
    if ip.checksums == Checksums::Verify && checksum::data(body) != !0 {
        return Err(Malformed::Checksum);
    }
    let identifier = be16(header, 4);
    let transport = match (header[0], header[1]) {
        (8, 0) => Transport::EchoRequest { identifier },
        (0, 0) => Transport::EchoReply { identifier },
        // Destination unreachable, time exceeded, parameter problem.
        (3 | 11 | 12, _) => Transport::IcmpError { about: embedded(&body[8..])? },
        _ => Transport::Other(1),
    };
    Ok((transport, 8))
}

fn parse_icmpv6(ip: &Ip, body: &[u8]) -> Result<(Transport, usize), Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::Length)?;
    if ip.transport_checksum(IpProtocol::Icmpv6, body) != !0 {
        return Err(Malformed::Checksum);
    }
    let identifier = be16(header, 4);
    let transport = match (header[0], header[1]) {
        (128, 0) => Transport::EchoRequest { identifier },
        (129, 0) => Transport::EchoReply { identifier },
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (1..=4, _) => Transport::IcmpError { about: embedded(&body[8..])? },
        _ => Transport::Other(58),
    };
    Ok((transport, 8))
}

/// The flow that an ICMP error quotes: at least the IP header and eight bytes (RFC 792), whose ports suffice.
fn embedded(quoted: &[u8]) -> Result<FiveTuple, Malformed> {
    let claimed = |at: usize| quoted.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let ip = match quoted.first().map(|byte| byte >> 4) {
        Some(4) => Ip::parse_v4(quoted, claimed(2).ok_or(Malformed::Length)?)?,
        Some(6) => Ip::parse_v6(quoted, claimed(4).ok_or(Malformed::Length)? + 40)?,
        _ => return Err(Malformed::Transport),
    };
    let start: &[u8; 8] = quoted.get(ip.header..).and_then(|b| b.first_chunk()).ok_or(Malformed::Length)?;
    let (protocol, source, destination) = match ip.protocol {
        6 => (Protocol::Tcp, be16(start, 0), be16(start, 2)),
        17 => (Protocol::Udp, be16(start, 0), be16(start, 2)),
        1 | 58 => (Protocol::Icmp, be16(start, 4), be16(start, 4)),
        _ => return Err(Malformed::Transport),
    };
    Ok(FiveTuple {
        protocol,
        source: SocketAddr::new(ip.source, source),
        destination: SocketAddr::new(ip.destination, destination),
    })
}

/// Only addresses that one host can have (RFC 1122 section 3.2.1.3). Loopback ones are left to policy: a server may
/// be a service of the gateway's own host, if the configuration says so.
fn check_unicast(address: IpAddr) -> Result<(), Malformed> {
    let unicast = match address {
        IpAddr::V4(a) => !a.is_multicast() && !a.is_broadcast() && a.octets()[0] != 0 && a.octets()[0] < 240,
        IpAddr::V6(a) => !a.is_multicast() && !a.is_unspecified() && a.to_ipv4_mapped().is_none(),
    };
    if unicast { Ok(()) } else { Err(Malformed::Address) }
}

fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
