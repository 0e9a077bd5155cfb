//! Finds connections that the gateway no longer knows, and would never miss by themselves.
//!
//! A program that only receives has nothing to send: when the gateway crashes under its video stream, it waits for
//! ever, because TCP notices a dead peer only by what it sends. So when a handshake suggests that the gateway may have
//! restarted, each connection repeats its last acknowledgement. A gateway that knows the connection ignores it, one
//! that does not answers with a reset, which ends the program's connection.

use std::collections::HashMap;

use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};
use vmsgate_tunnel::netstack::ConnectionId;

/// IPv6 without extensions, TCP with every option there is room for.
const MAX_HEADERS: usize = 40 + 60;

/// The newest header that was sent on each connection.
#[derive(Debug, Default)]
pub(super) struct Reminders(HashMap<ConnectionId, Header>);

#[derive(Debug)]
struct Header {
    bytes: [u8; MAX_HEADERS],
    len: usize,
    /// What followed it, which its repetition leaves out.
    payload_len: usize,
}

impl Reminders {
    /// Remembers the header of a packet that is sent.
    pub(super) fn note(&mut self, id: ConnectionId, packet: &[u8]) {
        let Some(len) = header_len(packet) else { return };
        let header = self.0.entry(id).or_insert(Header { bytes: [0; MAX_HEADERS], len: 0, payload_len: 0 });
        if let (Some(room), Some(bytes)) = (header.bytes.get_mut(..len), packet.get(..len)) {
            room.copy_from_slice(bytes);
            (header.len, header.payload_len) = (len, packet.len() - len);
        }
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }

    /// One packet for every connection whose handshake is complete.
    pub(super) fn all(&self) -> Vec<Vec<u8>> {
        self.0.values().filter_map(Header::repeat).collect()
    }
}

impl Header {
    /// A bare acknowledgement, at the sequence number that comes next.
    fn repeat(&self) -> Option<Vec<u8>> {
        let mut packet = self.bytes.get(..self.len)?.to_vec();
        let (ip_len, source, destination) = ends(&packet)?;
        let mut tcp = TcpPacket::new_checked(packet.get_mut(ip_len..)?).ok()?;
        if !tcp.ack() || tcp.syn() || tcp.rst() {
            return None;
        }
        let sent = self.payload_len + usize::from(tcp.fin());
        tcp.set_seq_number(tcp.seq_number() + sent);
        tcp.set_fin(false);
        tcp.set_psh(false);
        tcp.fill_checksum(&source, &destination);
        let len = packet.len();
        match source {
            IpAddress::Ipv4(_) => {
                let mut ip = Ipv4Packet::new_unchecked(packet.as_mut_slice());
                ip.set_total_len(len as u16);
                ip.fill_checksum();
            }
            IpAddress::Ipv6(_) => {
                Ipv6Packet::new_unchecked(packet.as_mut_slice()).set_payload_len((len - ip_len) as u16);
            }
        }
        Some(packet)
    }
}

/// Length of the IP and TCP headers together.
fn header_len(packet: &[u8]) -> Option<usize> {
    let ip_len = match packet.first()? >> 4 {
        4 => 20,
        _ => 40,
    };
    let tcp_len = usize::from(packet.get(ip_len + 12)? >> 4) * 4;
    Some(ip_len + tcp_len).filter(|len| *len <= packet.len())
}

/// Length of the IP header and the two addresses, of a packet that the stack has made.
fn ends(packet: &[u8]) -> Option<(usize, IpAddress, IpAddress)> {
    // Lengths are those of the packet with its payload, so that only the fields themselves can be trusted.
    if packet.first()? >> 4 == 4 {
        let ip = Ipv4Packet::new_unchecked(packet.get(..20)?);
        (ip.next_header() == IpProtocol::Tcp).then(|| (20, ip.src_addr().into(), ip.dst_addr().into()))
    } else {
        let ip = Ipv6Packet::new_unchecked(packet.get(..40)?);
        (ip.next_header() == IpProtocol::Tcp).then(|| (40, ip.src_addr().into(), ip.dst_addr().into()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use vmsgate_tunnel::netstack::{NetStack, OwnerId, StackConfig};
    use vmsgate_tunnel::packet::{Packet, Transport};

    use super::*;

    /// Two stacks with one connection; the client's packets are noted.
    struct Pair {
        client: NetStack,
        server: NetStack,
        ids: (ConnectionId, ConnectionId),
        reminders: Reminders,
        now: Instant,
    }

    impl Pair {
        fn connected(local: &str, remote: &str) -> Self {
            let (now, owner) = (Instant::now(), OwnerId(0));
            let mut client = NetStack::new(StackConfig::default(), 1, now);
            let mut server = NetStack::new(StackConfig::default(), 2, now);
            let ends: (SocketAddr, SocketAddr) = (local.parse().unwrap(), remote.parse().unwrap());
            let id = client.connect(owner, ends, u16::MAX, now).unwrap();
            let mut syn = Vec::new();
            client.poll_transmit(now, 1, &mut |_, packet| syn = packet.to_vec());
            let accepted = server.accept(owner, &syn, now).unwrap();
            let mut pair = Self { client, server, ids: (id, accepted), reminders: Reminders::default(), now };
            pair.exchange();
            pair
        }

        /// Lets packets cross until there are no more.
        fn exchange(&mut self) {
            let Self { client, server, ids, reminders, now } = self;
            loop {
                let mut crossing = Vec::new();
                server.poll_transmit(*now, 64, &mut |_, packet| crossing.push(packet.to_vec()));
                for packet in &crossing {
                    client.handle_packet(ids.0, packet, *now).unwrap();
                }
                let mut answers = Vec::new();
                client.poll_transmit(*now, 64, &mut |id, packet| {
                    reminders.note(id, packet);
                    answers.push(packet.to_vec());
                });
                for packet in &answers {
                    server.handle_packet(ids.1, packet, *now).unwrap();
                }
                if crossing.is_empty() && answers.is_empty() {
                    *now += std::time::Duration::from_millis(20);
                    if !client.poll_transmit(*now, 0, &mut |_, _| ()) && !server.has_work() {
                        return;
                    }
                }
            }
        }
    }

    const ENDS: [(&str, &str); 2] =
        [("10.99.0.2:40000", "192.168.10.21:7563"), ("[fd00:99::2]:40000", "[fd00:10::22]:7563")];

    #[test]
    fn a_reminder_is_a_sound_acknowledgement_that_a_forgetful_peer_resets() {
        for (local, remote) in ENDS {
            let mut pair = Pair::connected(local, remote);
            pair.client.send_with(pair.ids.0, |room| {
                room[..5].copy_from_slice(b"hello");
                (5, ())
            });
            pair.server.send_with(pair.ids.1, |room| {
                room[..7].copy_from_slice(b"welcome");
                (7, ())
            });
            pair.exchange();

            let reminders = pair.reminders.all();
            assert_eq!(reminders.len(), 1);
            let packet = Packet::parse(&reminders[0]).unwrap();
            let Transport::Tcp { flags, payload_len, .. } = packet.transport else { panic!() };
            assert!(flags.ack && !flags.syn && !flags.fin && !flags.rst && payload_len == 0);

            let mut reset = [0; 128];
            let len = vmsgate_tunnel::reply::reset(&packet, &mut reset).unwrap();
            pair.client.handle_packet(pair.ids.0, &reset[..len], pair.now).unwrap();
            assert!(pair.client.broken(pair.ids.0).is_some(), "the connection believes it");
        }
    }

    #[test]
    fn a_peer_that_knows_the_connection_is_not_disturbed() {
        let mut pair = Pair::connected(ENDS[0].0, ENDS[0].1);
        let reminders = pair.reminders.all();
        pair.server.handle_packet(pair.ids.1, &reminders[0], pair.now).unwrap();
        pair.exchange();
        assert_eq!((pair.client.broken(pair.ids.0), pair.server.broken(pair.ids.1)), (None, None));
    }

    #[test]
    fn finished_connections_are_forgotten() {
        let mut pair = Pair::connected(ENDS[0].0, ENDS[0].1);
        pair.reminders.forget(pair.ids.0);
        assert!(pair.reminders.all().is_empty());
    }
}
