//! A checked view of one TCP segment inside an IP packet, and the few edits made to copies of its header.

use smoltcp::wire::{
    IpAddress, IpEndpoint, IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

/// IPv4 header with options, then TCP header with options: no header is longer.
pub(super) const MAX_HEADERS: usize = 60 + 60;

#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) source: IpEndpoint,
    pub(super) destination: IpEndpoint,
    ip_header_len: usize,
    headers_len: usize,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) window: u16,
    pub(super) syn: bool,
    /// Whether a SYN carries the window scale option.
    pub(super) scales_window: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload_len: usize,
}

impl Segment {
    /// Reads a whole, unfragmented IPv4 or IPv6 packet with TCP directly inside; anything else is `None`.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        // smoltcp reads the first byte of an empty packet.
        packet.first()?;
        match IpVersion::of_packet(packet).ok()? {
            IpVersion::Ipv4 => {
                let ip = Ipv4Packet::new_checked(packet).ok()?;
                if ip.next_header() != IpProtocol::Tcp || ip.more_frags() || ip.frag_offset() != 0 {
                    return None;
                }
                let addresses = (ip.src_addr().into(), ip.dst_addr().into());
                Self::parse_tcp(addresses, ip.header_len().into(), ip.payload())
            }
            IpVersion::Ipv6 => {
                let ip = Ipv6Packet::new_checked(packet).ok()?;
                if ip.next_header() != IpProtocol::Tcp {
                    return None;
                }
                let addresses = (ip.src_addr().into(), ip.dst_addr().into());
                Self::parse_tcp(addresses, ip.header_len(), ip.payload())
            }
        }
    }

    fn parse_tcp(
        (source, destination): (IpAddress, IpAddress),
        ip_header_len: usize,
        payload: &[u8],
    ) -> Option<Self> {
        let tcp = TcpPacket::new_checked(payload).ok()?;
        let tcp_header_len = usize::from(tcp.header_len());
        Some(Self {
            source: IpEndpoint::new(source, tcp.src_port()),
            destination: IpEndpoint::new(destination, tcp.dst_port()),
            ip_header_len,
            headers_len: ip_header_len + tcp_header_len,
            seq: to_bits(tcp.seq_number()),
            ack: tcp.ack().then(|| to_bits(tcp.ack_number())),
            window: tcp.window_len(),
            syn: tcp.syn(),
            scales_window: tcp.syn()
                && tcp.options_summary().is_ok_and(|options| options.window_scale.is_some()),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload_len: payload.len() - tcp_header_len,
        })
    }

    /// The sequence number after this segment's last byte or flag.
    pub(super) fn end(&self) -> u32 {
        self.data_end().wrapping_add(u32::from(self.syn) + u32::from(self.fin))
    }

    /// The sequence number after this segment's last byte.
    pub(super) fn data_end(&self) -> u32 {
        self.seq.wrapping_add(self.payload_len as u32)
    }

    /// Writes a copy of `packet`'s headers, without payload and FIN, acknowledging `ack`.
    pub(super) fn bare_ack<'b>(
        &self,
        packet: &[u8],
        ack: u32,
        buffer: &'b mut [u8; MAX_HEADERS],
    ) -> Option<&'b [u8]> {
        let headers = buffer.get_mut(..self.headers_len)?;
        headers.copy_from_slice(packet.get(..self.headers_len)?);
        match self.source.addr {
            IpAddress::Ipv4(_) => {
                Ipv4Packet::new_unchecked(&mut *headers).set_total_len(self.headers_len as u16)
            }
            IpAddress::Ipv6(_) => Ipv6Packet::new_unchecked(&mut *headers)
                .set_payload_len((self.headers_len - self.ip_header_len) as u16),
        }
        let mut tcp = TcpPacket::new_unchecked(&mut headers[self.ip_header_len..]);
        tcp.set_ack_number(from_bits(ack));
        tcp.set_fin(false);
        tcp.set_psh(false);
        Some(headers)
    }

    /// A copy of `packet` without its FIN.
    pub(super) fn without_fin(&self, packet: &[u8]) -> Vec<u8> {
        let mut copy = packet.to_vec();
        TcpPacket::new_unchecked(&mut copy[self.ip_header_len..]).set_fin(false);
        copy
    }
}

/// Whether sequence number `a` lies before `b` (RFC 9293, 3.4: arithmetic modulo 2^32).
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

const fn to_bits(seq: TcpSeqNumber) -> u32 {
    seq.0 as u32
}

const fn from_bits(seq: u32) -> TcpSeqNumber {
    TcpSeqNumber(seq as i32)
}
