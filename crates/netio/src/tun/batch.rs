//! Packets for the kernel: decrypted into an arena, joined into trains, written one train per system call.

use std::fmt;
use std::io::{self, IoSlice, Write};

use super::layout::{Layout, TCP, put, take};
use super::merge::{Candidate, Growing, MAX_PACKETS};
use super::virtio::{GSO_NONE, NEEDS_CHECKSUM, VIRTIO_BYTES, VirtioHeader, gso_type_of};

/// Stays in a core's second-level cache, and holds four trains of the largest size.
const ARENA_BYTES: usize = 256 << 10;

/// In front of every packet, so that it begins at a multiple of sixteen with room for its virtio header.
const HEADROOM: usize = 16;

/// Flows whose trains can grow at the same time. Clients interleave few flows in one batch; more only make trains end
/// sooner.
const OPEN_RUNS: usize = 16;

const PSH: u8 = 0x08;

/// A batch of packets to write.
pub struct TunBatch {
    arena: Box<[u8]>,
    tail: usize,
    frames: Vec<Outgoing>,
    pieces: Vec<Piece>,
    open: [Option<Open>; OPEN_RUNS],
    /// Which of them last gave way.
    oldest: usize,
    /// How many of `frames` have been written.
    written: usize,
    udp: UdpTrains,
    stats: WriteStats,
}

/// Whether the kernel takes UDP trains (Linux 6.2 and later).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpTrains {
    Taken,
    Refused,
}

/// What became of the pushed packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Handed to the kernel: single packets and trains, one system call each.
    pub frames: u64,
    /// The packets in them.
    pub packets: u64,
    /// Of these, the packets that joined another's train.
    pub merged: u64,
    /// Packets refused while the interface was down.
    pub dropped_down: u64,
    /// Packets refused for another reason: malformed to the kernel, or no memory for them.
    pub dropped_refused: u64,
}

/// A single packet or a train: the packet at `start`, then the payloads of `pieces`.
#[derive(Debug)]
struct Outgoing {
    start: usize,
    len: usize,
    /// What may be joined; `None` for a packet that goes out as it is.
    train: Option<Growing>,
    ends_with_push: bool,
    first_piece: usize,
    last_piece: usize,
}

/// The payload of a packet that joined a train. Those of one train form a list.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    len: usize,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    run: u64,
    frame: usize,
}

#[derive(Debug, Clone, Copy)]
enum Joined {
    Growing,
    Complete,
}

impl TunBatch {
    pub fn new(udp: UdpTrains) -> Self {
        let packets = ARENA_BYTES / (HEADROOM + 32);
        Self {
            arena: vec![0; ARENA_BYTES].into_boxed_slice(),
            tail: 0,
            frames: Vec::with_capacity(packets),
            pieces: Vec::with_capacity(packets),
            open: [None; OPEN_RUNS],
            oldest: 0,
            written: 0,
            udp,
            stats: WriteStats::default(),
        }
    }

    /// Whether [`TunBatch::room`] has `len` bytes to give.
    pub const fn has_room(&self, len: usize) -> bool {
        self.tail + HEADROOM + len <= self.arena.len()
    }

    /// Where the next packet is to be written: `len` bytes, or none when the batch is full.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.tail + HEADROOM;
        self.arena.get_mut(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// Takes the packet of `len` bytes that is now at the beginning of [`TunBatch::room`], which must have been
    /// checked: version, lengths, checksums. `run` is the same for packets of the same flow, whose order is kept.
    pub fn push(&mut self, run: u64, len: usize) {
        let start = self.tail + HEADROOM;
        let Some(packet) = self.arena.get(start..start.saturating_add(len)) else { return };
        let candidate =
            Candidate::of(packet).filter(|c| c.layout.protocol == TCP || self.udp == UdpTrains::Taken);
        let slot = self.open.iter().position(|open| open.is_some_and(|open| open.run == run));
        self.tail = (start + len).next_multiple_of(16);

        if let Some(slot) = slot {
            match candidate.and_then(|next| self.join(slot, start, len, &next)) {
                Some(Joined::Growing) => return,
                Some(Joined::Complete) => {
                    self.open[slot] = None;
                    return;
                }
                // The flow's later packets must not overtake this one.
                None => self.open[slot] = None,
            }
        }
        if candidate.is_some_and(|candidate| !candidate.last) {
            let slot = slot.unwrap_or_else(|| {
                self.oldest = (self.oldest + 1) % OPEN_RUNS;
                self.oldest
            });
            self.open[slot] = Some(Open { run, frame: self.frames.len() });
        }
        self.frames.push(Outgoing {
            start,
            len,
            train: candidate.map(Growing::new),
            ends_with_push: false,
            first_piece: 0,
            last_piece: 0,
        });
    }

    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub const fn stats(&self) -> WriteStats {
        self.stats
    }

    /// Writes every frame, each with one call. Answers whether that was everything: `false` when `sink` would have
    /// to wait, and the rest stays, in order. A frame that is refused for another reason is dropped and counted,
    /// for the next is none the worse for it.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn write_to(&mut self, sink: &mut impl Write) -> io::Result<bool> {
        // What is written must not grow.
        self.open = [None; OPEN_RUNS];
        while let Some(frame) = self.frames.get(self.written) {
            let packets = frame.packets();
            match frame.write(&mut self.arena, &self.pieces, sink) {
                Ok(()) => {
                    self.stats.frames += 1;
                    self.stats.packets += packets;
                    self.stats.merged += packets - 1;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(false),
                    Some(libc::EINTR) => continue,
                    Some(libc::EBADFD) => return Err(error),
                    Some(libc::EIO) => self.stats.dropped_down += packets,
                    _ => self.stats.dropped_refused += packets,
                },
            }
            self.written += 1;
        }
        self.frames.clear();
        self.pieces.clear();
        (self.tail, self.written) = (0, 0);
        Ok(true)
    }

    fn join(&mut self, slot: usize, start: usize, len: usize, next: &Candidate) -> Option<Joined> {
        let frame = self.frames.get_mut(self.open.get(slot)?.as_ref()?.frame)?;
        let train = frame.train.as_mut()?;
        let head = self.arena.get(frame.start..frame.start + frame.len)?;
        if !train.add(head, next, self.arena.get(start..start + len)?) {
            return None;
        }
        let number = self.pieces.len();
        let piece = Piece { start: start + next.layout.payload, len: next.size, next: 0 };
        match self.pieces.get_mut(frame.last_piece) {
            Some(last) if train.packets() > 2 => last.next = number,
            _ => frame.first_piece = number,
        }
        frame.last_piece = number;
        self.pieces.push(piece);
        frame.ends_with_push = next.last;
        let complete = next.last || next.size < train.first().size;
        Some(if complete { Joined::Complete } else { Joined::Growing })
    }
}

impl Outgoing {
    fn packets(&self) -> u64 {
        self.train.as_ref().map_or(1, |train| train.packets() as u64)
    }

    fn write(&self, arena: &mut [u8], pieces: &[Piece], sink: &mut impl Write) -> io::Result<()> {
        let packet = arena.get_mut(self.start..self.start + self.len).unwrap_or_default();
        let header = self.train.as_ref().map_or(VirtioHeader::default(), |train| self.finish(packet, train));
        let framed = self.start - VIRTIO_BYTES;
        put(arena, framed, header.to_bytes());
        let first = arena.get(framed..self.start + self.len).unwrap_or_default();

        let Some(train) = self.train.as_ref().filter(|train| train.packets() > 1) else {
            return whole(sink.write(first)?, first.len());
        };
        let mut slices = [IoSlice::new(first); MAX_PACKETS];
        let mut next = self.first_piece;
        for slice in slices.iter_mut().take(train.packets()).skip(1) {
            let Some(piece) = pieces.get(next) else { break };
            *slice = IoSlice::new(arena.get(piece.start..piece.start + piece.len).unwrap_or_default());
            next = piece.next;
        }
        let written = sink.write_vectored(slices.get(..train.packets()).unwrap_or_default())?;
        whole(written, VIRTIO_BYTES + train.len())
    }

    /// Turns the first packet's headers into the train's. The checksum is left to the kernel, which leaves it to the
    /// network card or does without where the packet stays in the machine; so also for a single packet.
    fn finish(&self, packet: &mut [u8], train: &Growing) -> VirtioHeader {
        let first = train.first();
        let layout = first.layout;
        layout.write_lengths(packet, train.len());
        let (start, offset) = (layout.transport, layout.checksum_offset());
        let sum = Layout::pseudo_header(layout.addresses(packet), train.len() - start);
        put(packet, start + offset, sum.folded());
        if self.ends_with_push {
            let [flags] = take(packet, start + 13);
            put(packet, start + 13, [flags | PSH]);
        }
        let gso_type = if train.packets() == 1 { GSO_NONE } else { gso_type_of(&layout) };
        VirtioHeader {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_len: layout.payload as u16,
            gso_size: if gso_type == GSO_NONE { 0 } else { first.size as u16 },
            checksum_start: start as u16,
            checksum_offset: offset as u16,
        }
    }
}

/// A frame is one packet to the kernel, which takes it as a whole.
fn whole(written: usize, frame: usize) -> io::Result<()> {
    if written == frame { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

impl fmt::Debug for TunBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunBatch")
            .field("bytes", &self.tail)
            .field("frames", &self.frames.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::layout::UDP;
    use crate::tun::reference::{ACK, CWR, FIN, Spec, Written, seeded};

    fn push(batch: &mut TunBatch, run: u64, packet: &[u8]) {
        batch.room(packet.len() + 16)[..packet.len()].copy_from_slice(packet);
        batch.push(run, packet.len());
    }

    fn written(batch: &mut TunBatch) -> Written {
        let mut written = Written::default();
        assert!(batch.write_to(&mut written).unwrap());
        assert!(batch.is_empty());
        written
    }

    /// Full packets of one TCP flow, in order.
    fn flow(count: usize) -> Vec<Vec<u8>> {
        let mut random = fastrand::Rng::with_seed(1);
        let spec = Spec { protocol: TCP, dont_fragment: true, ..Spec::random(&mut random, count * 1000) };
        spec.cut(1000)
    }

    #[test]
    fn what_is_cut_again_is_what_was_pushed_in_order_within_each_flow() {
        let mut random = seeded();
        let mut batch = TunBatch::new(UdpTrains::Taken);
        for _ in 0..150 {
            let mut flows: Vec<Vec<Vec<u8>>> =
                (1..random.u16(2..24)).map(|n| trouble(&mut random, n)).collect();
            let pushed: Vec<Vec<Vec<u8>>> = flows.clone();
            for flow in &mut flows {
                flow.reverse();
            }
            while flows.iter().any(|flow| !flow.is_empty()) {
                let run = random.usize(..flows.len());
                for _ in 0..random.usize(1..6) {
                    let Some(packet) = flows[run].pop() else { break };
                    assert!(batch.has_room(packet.len() + 16));
                    push(&mut batch, run as u64, &packet);
                }
            }
            let packets = written(&mut batch).packets();
            for (run, expected) in pushed.iter().enumerate() {
                let port = run as u16 + 1;
                let of_run = packets.iter().filter(|p| Spec::parse(p).source_port == port);
                assert!(of_run.eq(expected), "flow {run}");
            }
            assert_eq!(packets.len(), pushed.iter().map(Vec::len).sum::<usize>());
        }
        let stats = batch.stats();
        println!("{stats:?}");
        assert!(stats.merged > stats.packets / 4, "most could be merged");
        assert_eq!(stats.packets, stats.frames + stats.merged);
    }

    /// The packets of a flow that is told by its source port, with some trouble among them.
    fn trouble(random: &mut fastrand::Rng, source_port: u16) -> Vec<Vec<u8>> {
        let payload = random.usize(1..6000);
        let mut spec = Spec { source_port, ..Spec::random(random, payload) };
        // Datagrams with DF are numbered anew; no other loss is allowed.
        spec.dont_fragment &= spec.protocol == TCP;
        let mut packets = spec.cut(random.usize(100..1400));
        let place = random.usize(..packets.len());
        match random.u8(..6) {
            0 => drop(packets.remove(place)),
            1 => packets.swap(0, place),
            2 => {
                let flags = [ACK | PSH, ACK | FIN, ACK | CWR, 2][random.usize(..4)];
                packets[place] = Spec { flags, ..Spec::parse(&packets[place]) }.packet();
            }
            // An identification with DF is of no matter (RFC 6864), so it alone is no trouble: the class changes too.
            3 => {
                let packet = Spec::parse(&packets[place]);
                packets[place] = Spec { id: 0, traffic_class: packet.traffic_class ^ 4, ..packet }.packet();
            }
            _ => {}
        }
        packets
    }

    #[test]
    fn packets_of_one_flow_become_one_train_and_a_shorter_or_pushed_one_ends_it() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let mut random = fastrand::Rng::with_seed(2);
        let spec = Spec { protocol: TCP, flags: ACK | PSH, ..Spec::random(&mut random, 10_500) };
        spec.cut(1000).iter().for_each(|packet| push(&mut batch, 7, packet));
        let frames = written(&mut batch).frames;
        assert_eq!(frames, [spec.as_read(1000)]);

        let mut packets = flow(9);
        packets[3] = Spec { flags: ACK | PSH, ..Spec::parse(&packets[3]) }.packet();
        packets.iter().for_each(|packet| push(&mut batch, 7, packet));
        let written = written(&mut batch);
        assert_eq!(written.frames.len(), 2);
        assert_eq!(written.packets(), packets);
    }

    #[test]
    fn what_must_be_seen_as_it_is_travels_alone() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let change = |change: fn(&mut Spec)| {
            let mut spec = Spec::parse(&flow(3)[1]);
            change(&mut spec);
            spec.packet()
        };
        for (what, packet) in [
            ("FIN", change(|p| p.flags |= FIN)),
            ("RST", change(|p| p.flags |= 4)),
            ("URG", change(|p| p.flags |= 32)),
            ("CWR", change(|p| p.flags |= CWR)),
            ("ECE", change(|p| p.flags |= 64)),
            ("no ACK", change(|p| p.flags = 0)),
            ("a gap", change(|p| p.sequence += 1)),
            ("a larger packet", change(|p| p.payload.push(0))),
            ("no payload", change(|p| p.payload.clear())),
            ("other options", change(|p| p.options.extend([1, 1, 1, 1]))),
            ("a congestion mark", change(|p| p.traffic_class ^= 3)),
            ("another fragment bit", change(|p| p.dont_fragment = p.v6 || !p.dont_fragment)),
            ("another port", change(|p| p.source_port ^= 1)),
        ] {
            let packets = flow(3);
            if packets[1] == packet {
                continue;
            }
            let pushed = [&packets[0], &packet, &packets[2]];
            pushed.iter().for_each(|packet| push(&mut batch, 7, packet));
            let written = written(&mut batch);
            assert_eq!(written.frames.len(), 3, "{what}");
            assert!(written.packets().iter().eq(pushed), "{what}");
        }
    }

    #[test]
    fn trains_keep_to_the_length_of_an_ip_packet_and_to_64_packets() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let mut random = fastrand::Rng::with_seed(3);
        for (size, payload, frames) in [(1000, 100_000, 2), (1000, 65_000, 2), (9, 900, 2), (9000, 63_000, 1)]
        {
            for protocol in [TCP, UDP] {
                let spec = Spec { protocol, dont_fragment: true, ..Spec::random(&mut random, 900) };
                let payload = vec![7; payload];
                let packets: Vec<_> = Spec { payload, ..spec }.cut(size);
                packets.iter().for_each(|packet| push(&mut batch, 7, packet));
                let written = written(&mut batch);
                assert_eq!(written.frames.len(), frames, "{size} {protocol}");
                assert_eq!(written.packets(), packets);
            }
        }
    }

    #[test]
    fn udp_trains_are_made_only_where_the_kernel_takes_them_and_with_checksums_only() {
        let mut random = fastrand::Rng::with_seed(4);
        let spec = Spec { protocol: UDP, ..Spec::random(&mut random, 3000) };
        for (udp, frames) in [(UdpTrains::Taken, 1), (UdpTrains::Refused, 3)] {
            let mut batch = TunBatch::new(udp);
            spec.cut(1000).iter().for_each(|packet| push(&mut batch, 7, packet));
            assert_eq!(written(&mut batch).frames.len(), frames);
        }
        let mut batch = TunBatch::new(UdpTrains::Taken);
        for mut packet in (Spec { v6: false, ..spec }).cut(1000) {
            packet[26..28].fill(0);
            push(&mut batch, 7, &packet);
        }
        assert_eq!(written(&mut batch).frames.len(), 3);
    }

    #[test]
    fn other_packets_go_out_as_they_are() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let icmp = [&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1], &[9; 18][..]].concat();
        push(&mut batch, 7, &icmp);
        push(&mut batch, 7, &icmp);
        assert_eq!(written(&mut batch).packets(), [icmp.clone(), icmp]);
    }

    #[test]
    fn a_full_queue_keeps_the_rest_in_order_and_a_refused_frame_does_not_stop_the_next() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let packets = flow(6);
        // Each its own frame, for the order is the wrong one.
        packets.iter().rev().for_each(|packet| push(&mut batch, 7, packet));
        let mut sink =
            Written { refusals: vec![Some(libc::EAGAIN), Some(libc::EIO), None], ..Written::default() };
        assert!(!batch.write_to(&mut sink).unwrap());
        push(&mut batch, 7, &packets[1]);
        sink.refusals = vec![Some(libc::EINVAL), Some(libc::EINTR)];
        assert!(batch.write_to(&mut sink).unwrap());

        let expected = [5, 2, 1, 0, 1].map(|n: usize| packets[n].clone());
        assert_eq!(sink.packets(), expected);
        let stats = batch.stats();
        assert_eq!((stats.dropped_down, stats.dropped_refused, stats.packets), (1, 1, 5));

        push(&mut batch, 7, &packets[0]);
        sink.refusals = vec![Some(libc::EBADFD)];
        assert_eq!(batch.write_to(&mut sink).unwrap_err().raw_os_error(), Some(libc::EBADFD));
    }

    #[test]
    fn a_full_batch_gives_no_room_and_takes_no_packet() {
        let mut batch = TunBatch::new(UdpTrains::Taken);
        let packet = &flow(1)[0];
        while batch.has_room(packet.len()) {
            batch.room(packet.len()).copy_from_slice(packet);
            batch.push(7, packet.len());
        }
        assert!(batch.room(packet.len()).is_empty() && batch.room(usize::MAX - 8).is_empty());
        let frames = batch.frames.len();
        batch.push(7, packet.len());
        assert_eq!(batch.frames.len(), frames);
        assert!(frames > 200);
    }
}
