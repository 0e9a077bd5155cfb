//! A checked view of one TCP segment inside an IP packet, and the few edits that are made to segments.

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
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload_len: usize,
}

/// What a SYN offers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SynOptions {
    pub(super) mss: Option<u16>,
    pub(super) window_scale: Option<u8>,
    pub(super) selective_ack: bool,
}

/// Changes to a segment; `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edit {
    pub(super) seq: Option<u32>,
    pub(super) ack: Option<u32>,
    pub(super) window: Option<u16>,
    /// Cut the payload off, and SYN, FIN and PSH with it.
    pub(super) bare: bool,
    pub(super) without_fin: bool,
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
        tcp: &[u8],
    ) -> Option<Self> {
        let packet = TcpPacket::new_checked(tcp).ok()?;
        let tcp_header_len = usize::from(packet.header_len());
        Some(Self {
            source: IpEndpoint::new(source, packet.src_port()),
            destination: IpEndpoint::new(destination, packet.dst_port()),
            ip_header_len,
            headers_len: ip_header_len + tcp_header_len,
            seq: to_bits(packet.seq_number()),
            ack: packet.ack().then(|| to_bits(packet.ack_number())),
            window: packet.window_len(),
            syn: packet.syn(),
            fin: packet.fin(),
            rst: packet.rst(),
            payload_len: tcp.len() - tcp_header_len,
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

    /// Length of the IP and TCP headers.
    pub(super) const fn headers_len(&self) -> usize {
        self.headers_len
    }

    /// Nothing but an acknowledgement.
    pub(super) fn is_bare(&self) -> bool {
        self.end() == self.seq && !self.rst
    }

    /// Whether a receiver that expects `next` has nothing to do for this segment but note its acknowledgement. An
    /// empty one from before `next` asks for an answer; a FIN ahead of it will come again.
    pub(super) fn is_idle(&self, next: u32) -> bool {
        let due = self.fin && self.seq == next;
        self.payload_len == 0 && !self.syn && !self.rst && !before(self.seq, next) && !due
    }

    /// What a SYN offers; options that cannot be read are as good as absent.
    pub(super) fn syn_options(&self, packet: &[u8]) -> SynOptions {
        let options = packet.get(self.ip_header_len..).and_then(|tcp| TcpPacket::new_checked(tcp).ok());
        let summary = options.and_then(|tcp| tcp.options_summary().ok());
        summary.map_or(SynOptions::default(), |summary| SynOptions {
            mss: summary.max_segment_size.filter(|&mss| mss != 0),
            window_scale: summary.window_scale,
            selective_ack: summary.sack_permitted,
        })
    }

    /// The ranges acknowledged selectively.
    pub(super) fn selective_acks(&self, packet: &[u8]) -> impl Iterator<Item = (u32, u32)> + use<> {
        // Most acknowledgements carry no options at all.
        let with_options = self.headers_len - self.ip_header_len > 20;
        let tcp = packet.get(self.ip_header_len..).filter(|_| with_options);
        let tcp = tcp.and_then(|tcp| TcpPacket::new_checked(tcp).ok());
        tcp.and_then(|tcp| tcp.selective_ack_ranges().ok()).unwrap_or_default().into_iter().flatten()
    }

    /// A copy of `packet` with changes, for smoltcp to read: checksums are not updated.
    pub(super) fn edited<'b>(&self, packet: &[u8], edit: Edit, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        let end = if edit.bare { self.headers_len } else { packet.len() };
        buffer.clear();
        buffer.extend_from_slice(packet.get(..end).unwrap_or(packet));
        self.apply(edit, buffer);
        buffer
    }

    /// Changes a packet that is about to leave; answers its new length.
    pub(super) fn amend(&self, packet: &mut [u8], edit: Edit) -> usize {
        let end = if edit.bare { self.headers_len } else { packet.len() };
        let Some(packet) = packet.get_mut(..end) else { return 0 };
        self.apply(edit, packet);
        if let IpAddress::Ipv4(_) = self.source.addr {
            Ipv4Packet::new_unchecked(&mut *packet).fill_checksum();
        }
        if let Some(tcp) = packet.get_mut(self.ip_header_len..) {
            TcpPacket::new_unchecked(tcp).fill_checksum(&self.source.addr, &self.destination.addr);
        }
        end
    }

    fn apply(&self, edit: Edit, packet: &mut [u8]) {
        if edit.bare {
            match self.source.addr {
                IpAddress::Ipv4(_) => {
                    Ipv4Packet::new_unchecked(&mut *packet).set_total_len(self.headers_len as u16);
                }
                IpAddress::Ipv6(_) => {
                    let payload_len = self.headers_len - self.ip_header_len;
                    Ipv6Packet::new_unchecked(&mut *packet).set_payload_len(payload_len as u16);
                }
            }
        }
        let Some(tcp) = packet.get_mut(self.ip_header_len..) else { return };
        let mut tcp = TcpPacket::new_unchecked(tcp);
        if let Some(seq) = edit.seq {
            tcp.set_seq_number(from_bits(seq));
        }
        if let Some(ack) = edit.ack {
            tcp.set_ack_number(from_bits(ack));
        }
        if let Some(window) = edit.window {
            tcp.set_window_len(window);
        }
        if edit.bare {
            tcp.set_syn(false);
            tcp.set_psh(false);
        }
        if edit.bare || edit.without_fin {
            tcp.set_fin(false);
        }
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
