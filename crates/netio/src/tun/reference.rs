//! The same in a simple way, for tests to compare with: packets built, summed and cut one byte after the other.

use std::io::{self, IoSlice, Write};

use super::layout::{TCP, UDP};
use super::virtio::{GSO_NONE, GSO_TCP_V4, GSO_TCP_V6, GSO_UDP, NEEDS_CHECKSUM, VIRTIO_BYTES, VirtioHeader};

pub(super) const FIN: u8 = 1;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;
pub(super) const CWR: u8 = 0x80;

/// A TCP or UDP packet, described.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) v6: bool,
    pub(super) protocol: u8,
    pub(super) source_port: u16,
    pub(super) traffic_class: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) sequence: u32,
    pub(super) flags: u8,
    /// TCP options; a multiple of four bytes.
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Spec {
    pub(super) fn random(random: &mut fastrand::Rng, payload: usize) -> Self {
        Self {
            v6: random.bool(),
            protocol: if random.bool() { TCP } else { UDP },
            source_port: random.u16(1..),
            traffic_class: random.u8(..),
            id: random.u16(..),
            dont_fragment: random.bool(),
            sequence: random.u32(..),
            flags: ACK,
            options: (0..random.usize(0..=10) * 4).map(|_| random.u8(..)).collect(),
            payload: (0..payload).map(|_| random.u8(..)).collect(),
        }
    }

    pub(super) fn headers(&self) -> usize {
        let ip = if self.v6 { 40 } else { 20 };
        ip + if self.protocol == TCP { 20 + self.options.len() } else { 8 }
    }

    /// The complete packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut packet = Vec::new();
        let len = transport.len() as u16;
        if self.v6 {
            packet.extend([0x60 | self.traffic_class >> 4, self.traffic_class << 4, 7, 9]);
            packet.extend(len.to_be_bytes());
            packet.extend([self.protocol, 63]);
            packet.extend([0xfd; 16]);
            packet.extend([0xfe; 16]);
        } else {
            packet.extend([0x45, self.traffic_class]);
            packet.extend((len + 20).to_be_bytes());
            packet.extend(self.id.to_be_bytes());
            packet.extend([u8::from(self.dont_fragment) << 6, 0, 63, self.protocol, 0, 0]);
            packet.extend([10, 99, 0, 1, 192, 0, 2, 7]);
            let sum = simple_checksum(&packet).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
        }
        packet.extend(transport);
        let ip = packet.len() - usize::from(len);
        let at = ip + if self.protocol == TCP { 16 } else { 6 };
        let pseudo = self.pseudo_header(&packet, len);
        let sum = simple_checksum(&[&pseudo, &packet[ip..]].concat());
        packet[at..at + 2].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        packet
    }

    /// The packet as the kernel gives it: the checksum field holds the sum of the pseudo header, a virtio header says
    /// to cut after every `gso_size` bytes of payload (0: not a train).
    pub(super) fn as_read(&self, gso_size: u16) -> Vec<u8> {
        let mut packet = self.packet();
        let start = if self.v6 { 40 } else { 20 };
        let offset = if self.protocol == TCP { 16 } else { 6 };
        let pseudo = self.pseudo_header(&packet, (packet.len() - start) as u16);
        let sum = !simple_checksum(&pseudo);
        packet[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
        let gso_type = match (gso_size, self.protocol, self.v6) {
            (0, ..) => GSO_NONE,
            (_, TCP, false) => GSO_TCP_V4,
            (_, TCP, true) => GSO_TCP_V6,
            _ => GSO_UDP,
        };
        let header = VirtioHeader {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_len: self.headers() as u16,
            gso_size,
            checksum_start: start as u16,
            checksum_offset: offset as u16,
        };
        [&header.to_bytes(), &packet[..]].concat()
    }

    /// The packets that a train like this stands for.
    pub(super) fn cut(&self, size: usize) -> Vec<Vec<u8>> {
        let count = self.payload.len().div_ceil(size).max(1);
        let segment = |(index, payload): (usize, &[u8])| {
            let mut flags = self.flags;
            if index > 0 {
                flags &= !CWR;
            }
            if index + 1 < count {
                flags &= !(FIN | PSH);
            }
            let segment = Self {
                id: self.id.wrapping_add(index as u16),
                sequence: self.sequence.wrapping_add((index * size) as u32),
                flags,
                payload: payload.to_vec(),
                ..self.clone()
            };
            segment.packet()
        };
        if self.payload.is_empty() {
            return vec![self.packet()];
        }
        self.payload.chunks(size).enumerate().map(segment).collect()
    }

    /// Reads a packet or train back, from what was written to the kernel.
    pub(super) fn parse(packet: &[u8]) -> Self {
        let v6 = packet[0] >> 4 == 6;
        let (protocol, start) = if v6 { (packet[6], 40) } else { (packet[9], 20) };
        let transport = &packet[start..];
        let tcp = protocol == TCP;
        let headers = if tcp { usize::from(transport[12] >> 4) * 4 } else { 8 };
        Self {
            v6,
            protocol,
            source_port: u16::from_be_bytes([transport[0], transport[1]]),
            traffic_class: if v6 { packet[0] << 4 | packet[1] >> 4 } else { packet[1] },
            id: if v6 { 0 } else { u16::from_be_bytes([packet[4], packet[5]]) },
            dont_fragment: !v6 && packet[6] & 0x40 != 0,
            sequence: if tcp { u32::from_be_bytes(*transport[4..].first_chunk().unwrap()) } else { 0 },
            flags: if tcp { transport[13] } else { 0 },
            options: if tcp { transport[20..headers].to_vec() } else { Vec::new() },
            payload: transport[headers..].to_vec(),
        }
    }

    fn transport(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.source_port.to_be_bytes());
        header.extend(7563u16.to_be_bytes());
        if self.protocol == TCP {
            header.extend(self.sequence.to_be_bytes());
            header.extend([
                0,
                0,
                0,
                77,
                ((20 + self.options.len()) << 2) as u8,
                self.flags,
                1,
                0,
                0,
                0,
                0,
                0,
            ]);
            header.extend(&self.options);
        } else {
            header.extend((8 + self.payload.len() as u16).to_be_bytes());
            header.extend([0, 0]);
        }
        header.extend(&self.payload);
        header
    }

    fn pseudo_header(&self, packet: &[u8], len: u16) -> Vec<u8> {
        let mut pseudo = packet[if self.v6 { 8..40 } else { 12..20 }].to_vec();
        pseudo.extend([0, self.protocol]);
        pseudo.extend(len.to_be_bytes());
        pseudo
    }
}

/// A generator whose seed is printed, so that a failure can be repeated.
pub(super) fn seeded() -> fastrand::Rng {
    let given = std::env::var("VMSGATE_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("VMSGATE_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// RFC 1071, word by word.
pub(super) fn simple_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Keeps what is written, one entry per call, or refuses with an error of the system's.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) frames: Vec<Vec<u8>>,
    /// Errors for the next calls, last first.
    pub(super) refusals: Vec<Option<i32>>,
}

impl Written {
    /// Cuts everything written, as the kernel would.
    pub(super) fn packets(&self) -> Vec<Vec<u8>> {
        self.frames.iter().flat_map(|frame| cut_written(frame)).collect()
    }
}

impl Write for Written {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(frame)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(Some(error)) = self.refusals.pop() {
            return Err(io::Error::from_raw_os_error(error));
        }
        let frame: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.frames.push(frame);
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks a written frame as strictly as the kernel does, and cuts it.
fn cut_written(frame: &[u8]) -> Vec<Vec<u8>> {
    let (header, packet) = frame.split_first_chunk::<VIRTIO_BYTES>().unwrap();
    let header = VirtioHeader::from_bytes(*header);
    if header == VirtioHeader::default() {
        return vec![packet.to_vec()];
    }
    let spec = Spec::parse(packet);
    // As read, a frame like this would have the same headers: lengths, checksums of both kinds, virtio header.
    assert_eq!(spec.as_read(header.gso_size), frame);
    assert!(packet.len() <= 65_535);
    let size = if header.gso_size == 0 { spec.payload.len() } else { header.gso_size.into() };
    spec.cut(size)
}
