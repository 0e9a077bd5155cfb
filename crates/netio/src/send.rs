//! Datagrams to send: written in place, joined into trains, handed to the system one train per call.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::{fmt, io};

use crate::socket::UdpSocket;

/// Bytes that may wait in the queue. More than the socket can take at once is of no use to TCP inside the tunnel,
/// which reads the wait as delay; what does not fit is dropped, as a full network card would.
const QUEUE_BYTES: usize = 2 << 20;

/// Longest train in bytes: the payload of the largest UDP datagram over IPv4 (65,535 less 20 and 8).
const MAX_TRAIN_BYTES: usize = 65_507;

/// A queue of outgoing datagrams. Reserve, write, commit; then flush.
pub struct SendQueue {
    /// Filled from the front; starts over when everything has left.
    storage: Box<[u8]>,
    tail: usize,
    trains: VecDeque<Train>,
    reserved: Option<Reserved>,
    /// Takes what is written when the queue is full.
    overflow: Vec<u8>,
    max_segments: usize,
    stats: SendStats,
}

/// What became of the committed datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Handed to the system.
    pub sent: u64,
    /// System calls that were needed for them.
    pub calls: u64,
    /// Dropped because the queue was full.
    pub dropped_full: u64,
    /// Refused by the system: no route, too big, refused by the peer's host.
    pub dropped_error: u64,
    /// Of those, the ones that were larger than the way out allows.
    pub dropped_too_big: u64,
}

#[derive(Debug)]
struct Train {
    to: SocketAddr,
    start: usize,
    len: usize,
    segment: usize,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
struct Reserved {
    to: SocketAddr,
    room: usize,
    fits: bool,
}

impl SendQueue {
    pub fn new() -> Self {
        Self {
            storage: vec![0; QUEUE_BYTES].into_boxed_slice(),
            tail: 0,
            trains: VecDeque::new(),
            reserved: None,
            overflow: Vec::new(),
            max_segments: usize::MAX,
            stats: SendStats::default(),
        }
    }

    pub fn queued_bytes(&self) -> usize {
        self.tail
    }

    /// Room for one datagram of up to `len` bytes to `to`. A reservation that is not committed leaves no trace.
    pub fn reserve(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        let end = self.tail.saturating_add(len);
        let fits = end <= self.storage.len();
        self.reserved = Some(Reserved { to, room: len, fits });
        match self.storage.get_mut(self.tail..end) {
            Some(room) => room,
            None => {
                self.overflow.resize(len, 0);
                &mut self.overflow
            }
        }
    }

    /// Queues the first `len` bytes of the last reservation as one datagram.
    pub fn commit(&mut self, len: usize) {
        let Some(Reserved { to, room, fits }) = self.reserved.take() else { return };
        if !fits {
            self.stats.dropped_full += 1;
            return;
        }
        let len = len.min(room);
        let start = self.tail;
        self.tail += len;
        let max_segments = self.max_segments;
        match self.trains.back_mut() {
            Some(train) if train.takes(to, len, max_segments) => {
                train.len += len;
                train.count += 1;
            }
            _ => self.trains.push_back(Train { to, start, len, segment: len, count: 1 }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Whether there is room for another `datagrams` of `len` bytes each: a caller that can wait asks first.
    pub fn has_room(&self, datagrams: usize, len: usize) -> bool {
        datagrams.saturating_mul(len) <= self.storage.len() - self.tail
    }

    pub const fn stats(&self) -> SendStats {
        self.stats
    }

    /// Sends everything, waiting for the socket as necessary. Dropping the future loses nothing: what has not been
    /// sent stays queued. Fails only with the runtime, at its shutdown.
    pub async fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        while !self.try_flush(socket) {
            socket.writable().await?;
        }
        Ok(())
    }

    /// Sends what the socket takes now; answers whether that was everything. Other refusals (no route, too big, no
    /// memory for it) concern a datagram, not the socket: they are counted in [`SendQueue::stats`] and passed over.
    pub fn try_flush(&mut self, socket: &UdpSocket) -> bool {
        while let Some(train) = self.trains.front() {
            let contents = self.storage.get(train.start..train.start + train.len).unwrap_or_default();
            let (to, count) = (train.to, train.count as u64);
            match socket.try_send(to, contents, train.segment) {
                Ok(()) => self.stats.sent += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                // Some drivers refuse trains only when they meet one. quinn-udp then stops offering them.
                Err(_) if count > 1 && socket.max_segments() == 1 => {
                    self.split_first();
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%to, datagrams = count, %error, "datagrams not sent");
                    self.stats.dropped_error += count;
                    self.stats.dropped_too_big += if quinn_udp::is_msg_size_err(&error) { count } else { 0 };
                }
            }
            self.stats.calls += 1;
            self.trains.pop_front();
        }
        self.tail = 0;
        self.max_segments = socket.max_segments();
        true
    }

    /// Takes the first train apart into single datagrams.
    fn split_first(&mut self) {
        let Some(Train { to, start, len, segment, count }) = self.trains.pop_front() else { return };
        for n in (0..count).rev() {
            let offset = n * segment;
            let len = segment.min(len.saturating_sub(offset));
            self.trains.push_front(Train { to, start: start + offset, len, segment: len, count: 1 });
        }
    }
}

impl Train {
    /// Whether a datagram may become the train's last: all before it must be of equal size, and it no larger.
    fn takes(&self, to: SocketAddr, len: usize, max_segments: usize) -> bool {
        self.to == to
            && len > 0
            && len <= self.segment
            && self.len == self.segment * self.count
            && self.count < max_segments.min(64)
            && self.len + len <= MAX_TRAIN_BYTES
    }
}

impl Default for SendQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SendQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendQueue")
            .field("queued_bytes", &self.tail)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut SendQueue, to: SocketAddr, len: usize) {
        queue.reserve(to, len + 16).fill(7);
        queue.commit(len);
    }

    fn counts(queue: &SendQueue) -> Vec<usize> {
        queue.trains.iter().map(|train| train.count).collect()
    }

    #[test]
    fn only_equal_neighbours_to_one_peer_form_a_train_and_a_shorter_one_ends_it() {
        let (a, b) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
        let mut queue = SendQueue::new();
        for (to, len) in [(a, 100), (a, 100), (a, 60), (a, 60), (b, 60), (a, 60), (a, 61)] {
            push(&mut queue, to, len);
        }
        assert_eq!(counts(&queue), [3, 1, 1, 1, 1]);
    }

    #[test]
    fn trains_keep_to_the_systems_limits() {
        let to = "192.0.2.1:1".parse().unwrap();
        let mut queue = SendQueue::new();
        (0..100).for_each(|_| push(&mut queue, to, 100));
        (0..60).for_each(|_| push(&mut queue, to, 1452));
        assert_eq!(counts(&queue), [64, 36, 45, 15]);
        queue.max_segments = 1;
        push(&mut queue, to, 1452);
        assert_eq!(counts(&queue), [64, 36, 45, 15, 1]);
    }

    #[test]
    fn an_uncommitted_reservation_leaves_no_trace_and_a_full_queue_drops() {
        let to = "192.0.2.1:1".parse().unwrap();
        let mut queue = SendQueue::new();
        queue.reserve(to, 1000).fill(1);
        assert!(queue.is_empty() && queue.tail == 0);

        let fit = QUEUE_BYTES / 1484;
        (0..fit + 10).for_each(|_| push(&mut queue, to, 1484));
        assert!(queue.stats().dropped_full > 0 && queue.tail <= QUEUE_BYTES);
        assert!(!queue.has_room(64, 1500));
    }

    #[test]
    fn a_train_taken_apart_keeps_every_datagram() {
        let to = "192.0.2.1:1".parse().unwrap();
        let mut queue = SendQueue::new();
        for len in [100, 100, 30] {
            push(&mut queue, to, len);
        }
        queue.split_first();
        let lens: Vec<_> = queue.trains.iter().map(|t| (t.start, t.len)).collect();
        assert_eq!(lens, [(0, 100), (100, 100), (200, 30)]);
    }
}
