//! The internet: it loses, repeats, delays and reorders, and its NATs give their addresses to others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;

pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Network {
    under_way: BTreeMap<(Instant, u64), Datagram>,
    number: u64,
    /// Per cent.
    pub(crate) loss: u8,
    pub(crate) repeats: u8,
    pub(crate) longest: Duration,
    /// What somebody on the way has noted down, to send it again.
    pub(crate) noted: Vec<Datagram>,
}

impl Network {
    pub(crate) fn new(random: &mut Rng) -> Network {
        Network {
            under_way: BTreeMap::new(),
            number: 0,
            loss: [0, 0, 2, 10, 30][random.usize(..5)],
            repeats: [0, 0, 5, 20][random.usize(..4)],
            longest: Duration::from_millis([1, 20, 200, 1000][random.usize(..4)]),
            noted: Vec::new(),
        }
    }

    pub(crate) fn heal(&mut self) {
        (self.loss, self.repeats, self.longest) = (0, 0, Duration::from_millis(20));
    }

    pub(crate) fn send(&mut self, datagram: Datagram, now: Instant, random: &mut Rng) {
        if random.u8(..100) < 5 && self.noted.len() < 50 {
            let Datagram { from, to, ref bytes } = datagram;
            self.noted.push(Datagram { from, to, bytes: bytes.clone() });
        }
        if random.u8(..100) < self.loss {
            return;
        }
        if random.u8(..100) < self.repeats {
            let Datagram { from, to, ref bytes } = datagram;
            self.carry(Datagram { from, to, bytes: bytes.clone() }, now, random);
        }
        self.carry(datagram, now, random);
    }

    fn carry(&mut self, datagram: Datagram, now: Instant, random: &mut Rng) {
        let delay = Duration::from_micros(random.u64(..=self.longest.as_micros() as u64));
        self.number += 1;
        self.under_way.insert((now + delay, self.number), datagram);
    }

    /// When the next one arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn arrival(&mut self, now: Instant) -> Option<Datagram> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
