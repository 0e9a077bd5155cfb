//! What one read of a TUN gives: a packet, or a train that is cut into packets in place.

use std::fmt;
use std::io::{self, Read};

use super::checksum::Sum;
use super::layout::{Layout, MAX_HEADER_BYTES, TCP, never_zero, put, take};
use super::virtio::{GSO_ECN, GSO_NONE, GSO_UDP, NEEDS_CHECKSUM, VIRTIO_BYTES, VirtioHeader, gso_type_of};

/// Spare bytes behind every packet: WireGuard pads to a multiple of sixteen.
const SPARE_BYTES: usize = 15;

/// The packet lies at a multiple of sixteen, the virtio header right in front of it.
const PACKET_AT: usize = 16;

/// The largest IP packet: what a length field of 16 bits can say.
const MAX_PACKET_BYTES: usize = 65_535;

const FIN_OR_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// A buffer for one read, used again for the next.
pub struct Frame {
    buffer: Box<[u8]>,
    /// Of the packet as read, without the virtio header.
    len: usize,
    train: Option<Train>,
    segments: usize,
    /// Number of the segment that comes next.
    next: usize,
    /// What the spare bytes behind the last segment held, and where: the payload of the next one.
    lent: Option<(usize, [u8; SPARE_BYTES])>,
    stats: ReadStats,
}

/// A packet ready to be sent.
#[derive(Debug)]
pub struct Segment<'a> {
    /// The packet, and behind it 15 bytes that may be overwritten.
    pub buffer: &'a mut [u8],
    /// Length of the packet.
    pub len: usize,
}

/// What became of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Reads that gave a packet or a train.
    pub frames: u64,
    /// The packets in them.
    pub packets: u64,
    /// Dropped: shorter than its headers.
    pub dropped_short: u64,
    /// Dropped: a kind of train that was not asked for, or one with an impossible size.
    pub dropped_train: u64,
    /// Dropped: a train whose IP, TCP or UDP header contradicts its size or kind.
    pub dropped_header: u64,
    /// Dropped: a checksum to complete outside the packet, or not where the header has it.
    pub dropped_checksum: u64,
}

/// How to cut a train. Its headers are kept apart, for the first segments overwrite them.
#[derive(Debug)]
struct Train {
    layout: Layout,
    /// Payload bytes per segment.
    size: usize,
    headers: [u8; MAX_HEADER_BYTES],
    addresses: Sum,
}

enum Malformed {
    Short,
    Train,
    Header,
    Checksum,
}

impl Frame {
    pub fn new() -> Self {
        Self {
            buffer: vec![0; PACKET_AT + MAX_PACKET_BYTES + SPARE_BYTES].into_boxed_slice(),
            len: 0,
            train: None,
            segments: 0,
            next: 0,
            lent: None,
            stats: ReadStats::default(),
        }
    }

    /// The packet or train as it was read: its headers show the flow, the policy decision holds for every segment.
    /// Only the headers of a train that has been cut may have changed, so look before cutting.
    pub fn packet(&self) -> &[u8] {
        self.buffer.get(PACKET_AT..PACKET_AT + self.len).unwrap_or_default()
    }

    /// How many packets this becomes.
    pub const fn segments(&self) -> usize {
        self.segments
    }

    /// The next packet, complete with its checksums. `None` when all have been given.
    pub fn next_segment(&mut self) -> Option<Segment<'_>> {
        if let Some((at, bytes)) = self.lent.take() {
            put(&mut self.buffer, at, bytes);
        }
        if self.next >= self.segments {
            return None;
        }
        let (start, len) = match &self.train {
            None => (PACKET_AT, self.len),
            Some(train) => train.write_segment(&mut self.buffer, self.len, self.next, self.segments)?,
        };
        self.next += 1;
        self.lent = Some((start + len, take(&self.buffer, start + len)));
        let buffer = self.buffer.get_mut(start..start + len + SPARE_BYTES)?;
        Some(Segment { buffer, len })
    }

    pub const fn stats(&self) -> ReadStats {
        self.stats
    }

    /// Reads one packet or train with its virtio header. Answers `false` when it was nonsense: then the frame is
    /// empty and the reason counted.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<bool> {
        (self.len, self.segments, self.next) = (0, 0, 0);
        (self.train, self.lent) = (None, None);
        let room = self.buffer.get_mut(PACKET_AT - VIRTIO_BYTES..PACKET_AT + MAX_PACKET_BYTES);
        let read = source.read(room.unwrap_or_default())?;
        match self.accept(read) {
            Ok(()) => {
                self.stats.frames += 1;
                self.stats.packets += self.segments as u64;
                return Ok(true);
            }
            Err(Malformed::Short) => self.stats.dropped_short += 1,
            Err(Malformed::Train) => self.stats.dropped_train += 1,
            Err(Malformed::Header) => self.stats.dropped_header += 1,
            Err(Malformed::Checksum) => self.stats.dropped_checksum += 1,
        }
        self.len = 0;
        Ok(false)
    }

    fn accept(&mut self, read: usize) -> Result<(), Malformed> {
        let header = VirtioHeader::from_bytes(take(&self.buffer, PACKET_AT - VIRTIO_BYTES));
        self.len = read.checked_sub(VIRTIO_BYTES).filter(|len| *len >= 20).ok_or(Malformed::Short)?;
        let packet = self.buffer.get_mut(PACKET_AT..PACKET_AT + self.len).ok_or(Malformed::Short)?;
        if header.gso_type == GSO_NONE {
            if header.flags & NEEDS_CHECKSUM != 0 {
                complete_checksum(packet, header).ok_or(Malformed::Checksum)?;
            }
            self.segments = 1;
        } else {
            let train = Train::of(packet, header)?;
            self.segments = (self.len - train.layout.payload).div_ceil(train.size).max(1);
            self.train = Some(train);
        }
        Ok(())
    }
}

impl Train {
    fn of(packet: &[u8], header: VirtioHeader) -> Result<Self, Malformed> {
        let layout = Layout::of(packet).ok_or(Malformed::Header)?;
        let kind = gso_type_of(&layout);
        if header.gso_type != kind && (header.gso_type != kind | GSO_ECN || kind == GSO_UDP) {
            return Err(Malformed::Train);
        }
        let size = usize::from(header.gso_size);
        if size == 0 {
            return Err(Malformed::Train);
        }
        let checksum = (usize::from(header.checksum_start), usize::from(header.checksum_offset));
        let expected = (layout.transport, layout.checksum_offset());
        if header.flags & NEEDS_CHECKSUM != 0 && checksum != expected {
            return Err(Malformed::Checksum);
        }
        let mut headers = [0; MAX_HEADER_BYTES];
        let from = packet.get(..layout.payload).ok_or(Malformed::Header)?;
        headers.get_mut(..layout.payload).ok_or(Malformed::Header)?.copy_from_slice(from);
        Ok(Self { layout, size, headers, addresses: layout.addresses(packet) })
    }

    /// Puts headers in front of the payload of segment `index` and answers where it is and how long.
    fn write_segment(
        &self,
        buffer: &mut [u8],
        train_len: usize,
        index: usize,
        segments: usize,
    ) -> Option<(usize, usize)> {
        let Layout { v6, protocol, transport, payload } = self.layout;
        let offset = index * self.size;
        let len = payload + self.size.min(train_len.checked_sub(payload + offset)?);
        let start = PACKET_AT + offset;
        let packet = buffer.get_mut(start..start + len)?;
        packet.get_mut(..payload)?.copy_from_slice(self.headers.get(..payload)?);

        if !v6 {
            let id = u16::from_be_bytes(take(packet, 4)).wrapping_add(index as u16);
            put(packet, 4, id.to_be_bytes());
        }
        self.layout.write_lengths(packet, len);
        if protocol == TCP {
            let sequence = u32::from_be_bytes(take(packet, transport + 4)).wrapping_add(offset as u32);
            put(packet, transport + 4, sequence.to_be_bytes());
            let [mut flags] = take(packet, transport + 13);
            if index > 0 {
                flags &= !CWR;
            }
            if index + 1 < segments {
                flags &= !FIN_OR_PSH;
            }
            put(packet, transport + 13, [flags]);
        }
        let checksum_at = transport + self.layout.checksum_offset();
        put(packet, checksum_at, [0, 0]);
        let body = packet.get(transport..)?;
        let sum = Layout::pseudo_header(self.addresses, body.len()).plus(body);
        put(packet, checksum_at, never_zero(sum.complement()));
        Some((start, len))
    }
}

/// Completes the checksum of a single packet, whose field holds the sum of the pseudo header.
fn complete_checksum(packet: &mut [u8], header: VirtioHeader) -> Option<()> {
    let body = packet.get_mut(usize::from(header.checksum_start)..)?;
    let field = usize::from(header.checksum_offset);
    body.get(field..field + 2)?;
    let sum = Sum::new().plus(body);
    put(body, field, never_zero(sum.complement()));
    Some(())
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len)
            .field("segments", &self.segments)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::layout::UDP;
    use crate::tun::reference::{ACK, FIN, PSH, Spec, seeded};
    use crate::tun::virtio::GSO_TCP_V6;

    fn read(frame: &mut Frame, bytes: &[u8]) -> bool {
        frame.read_from(&mut &bytes[..]).unwrap()
    }

    /// All segments; overwrites the spare bytes behind each as padding would.
    fn segments(frame: &mut Frame) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(segment) = frame.next_segment() {
            let (packet, spare) = segment.buffer.split_at_mut(segment.len);
            assert_eq!(spare.len(), SPARE_BYTES);
            spare.fill(0);
            packets.push(packet.to_vec());
        }
        packets
    }

    #[test]
    fn a_train_becomes_the_packets_that_a_simple_splitter_makes() {
        let mut random = seeded();
        let mut frame = Frame::new();
        for round in 0..600 {
            let payload = if round % 8 == 0 { random.usize(1..64_000) } else { random.usize(1..4000) };
            let mut train = Spec::random(&mut random, payload);
            train.flags = ACK | [0, PSH, FIN | PSH, CWR][random.usize(..4)];
            let size = if round % 3 == 0 { random.u16(1..64) } else { random.u16(64..9000) };
            assert!(read(&mut frame, &train.as_read(size)), "{:?}", frame.stats());
            assert_eq!(frame.packet(), &train.as_read(size)[VIRTIO_BYTES..]);

            let expected = train.cut(size.into());
            assert_eq!(frame.segments(), expected.len());
            let actual = segments(&mut frame);
            for (n, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
                assert_eq!(actual, expected, "segment {n} of {}, {size} bytes each", expected.len());
            }
            assert_eq!(actual.len(), expected.len());
        }
    }

    #[test]
    fn a_single_packet_gets_its_checksum_or_stays_as_it_is() {
        let mut random = seeded();
        let mut frame = Frame::new();
        for _ in 0..200 {
            let payload = random.usize(0..1500);
            let spec = Spec::random(&mut random, payload);
            assert!(read(&mut frame, &spec.as_read(0)));
            assert_eq!(segments(&mut frame), [spec.packet()]);

            let damaged: Vec<u8> = spec.packet().iter().map(|byte| byte ^ 1).collect();
            assert!(read(&mut frame, &[&[0; VIRTIO_BYTES], &damaged[..]].concat()));
            assert_eq!(segments(&mut frame), [damaged]);
        }
        assert_eq!(frame.stats(), ReadStats { frames: 400, packets: 400, ..ReadStats::default() });
    }

    #[test]
    fn a_train_of_one_packet_and_one_without_payload_are_single_packets() {
        let mut random = seeded();
        let mut frame = Frame::new();
        for payload in [0, 1, 500] {
            let spec = Spec { flags: ACK | FIN | PSH, ..Spec::random(&mut random, payload) };
            assert!(read(&mut frame, &spec.as_read(500)));
            assert_eq!(frame.segments(), 1);
            assert_eq!(segments(&mut frame), [spec.packet()]);
        }
    }

    #[test]
    fn nonsense_is_dropped_and_counted_by_its_reason() {
        let mut random = seeded();
        let spec = Spec { v6: false, protocol: TCP, options: Vec::new(), ..Spec::random(&mut random, 1000) };
        let header = |change: fn(&mut VirtioHeader)| {
            let mut bytes = spec.as_read(100);
            let mut header = VirtioHeader::from_bytes(take(&bytes, 0));
            change(&mut header);
            put(&mut bytes, 0, header.to_bytes());
            bytes
        };
        let packet = |change: fn(&mut Vec<u8>)| {
            let mut bytes = spec.as_read(100);
            change(&mut bytes);
            bytes
        };
        let udp = Spec { protocol: UDP, ..spec.clone() }.as_read(100);
        let udp_ecn = [&[udp[0], udp[1] | GSO_ECN], &udp[2..]].concat();
        for (what, bytes, reason) in [
            ("nothing", vec![], "short"),
            ("no packet", vec![0; VIRTIO_BYTES + 19], "short"),
            ("no size", header(|h| h.gso_size = 0), "train"),
            ("wrong family", header(|h| h.gso_type = GSO_TCP_V6), "train"),
            ("UDP fragments", header(|h| h.gso_type = 3), "train"),
            ("UDP over TCP", header(|h| h.gso_type = GSO_UDP), "train"),
            ("UDP with ECN", udp_ecn, "train"),
            ("checksum elsewhere", header(|h| h.checksum_start += 1), "checksum"),
            ("checksum at another field", header(|h| h.checksum_offset = 6), "checksum"),
            (
                "checksum outside",
                header(|h| (h.gso_type, h.checksum_start, h.checksum_offset) = (0, 1039, 0)),
                "checksum",
            ),
            (
                "checksum far outside",
                header(|h| (h.gso_type, h.checksum_start, h.checksum_offset) = (0, 65_535, 65_535)),
                "checksum",
            ),
            ("cut off", packet(|p| p.truncate(p.len() - 1)), "header"),
            ("not IP", packet(|p| p[VIRTIO_BYTES] = 0x75), "header"),
            ("short IP header", packet(|p| p[VIRTIO_BYTES] = 0x44), "header"),
            ("a fragment", packet(|p| p[VIRTIO_BYTES + 6] |= 0x20), "header"),
            ("ICMP", packet(|p| p[VIRTIO_BYTES + 9] = 1), "header"),
            ("short TCP header", packet(|p| p[VIRTIO_BYTES + 32] = 0x40), "header"),
        ] {
            let mut frame = Frame::new();
            assert!(!read(&mut frame, &bytes), "{what}");
            assert!(frame.next_segment().is_none() && frame.packet().is_empty(), "{what}");
            let mut expected = ReadStats::default();
            match reason {
                "short" => expected.dropped_short = 1,
                "train" => expected.dropped_train = 1,
                "header" => expected.dropped_header = 1,
                _ => expected.dropped_checksum = 1,
            }
            assert_eq!(frame.stats(), expected, "{what}");
        }
    }

    #[test]
    fn random_bytes_never_panic_and_segments_carry_all_payload() {
        let mut random = seeded();
        let mut frame = Frame::new();
        for _ in 0..60_000 {
            let payload = random.usize(0..300);
            let mut bytes = Spec::random(&mut random, payload).as_read(random.u16(0..200));
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..bytes.len().min(80));
                bytes[at] = random.u8(..);
            }
            if random.u8(..) < 16 {
                bytes.truncate(random.usize(..bytes.len()));
            }
            if read(&mut frame, &bytes) {
                let (count, len) = (frame.segments(), frame.packet().len());
                let packets = segments(&mut frame);
                assert_eq!(packets.len(), count);
                assert!(packets.iter().map(Vec::len).sum::<usize>() >= len);
            }
        }
        let stats = frame.stats();
        println!("{stats:?}");
        let dropped =
            [stats.dropped_short, stats.dropped_train, stats.dropped_header, stats.dropped_checksum];
        assert!(stats.frames > 0 && dropped.iter().all(|count| *count > 0), "every way was taken");
    }
}
