//! What one worker passes to another: datagrams and packets that landed with the wrong one.
//!
//! Each worker has one bounded queue that the others fill. A full queue drops, as a network card's would: nobody ever
//! waits for another worker.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use vmsgate_netio::Frame;
use vmsgate_tunnel::gateway::shard::{Handover, Initiator};

/// Parcels that may wait for a worker.
const QUEUE: usize = 256;

/// What is handed over at once.
#[derive(Debug)]
pub enum Parcel {
    /// Datagrams of one receive.
    Datagrams(Vec<Misdirected>),
    /// A packet or train from the recording network.
    Lan(Box<Frame>),
}

/// A datagram of another worker's client.
#[derive(Debug)]
pub struct Misdirected {
    pub from: SocketAddr,
    pub initiator: Option<Initiator>,
    pub bytes: Vec<u8>,
}

/// The ways to the other workers.
#[derive(Debug)]
pub struct Couriers {
    to: Vec<mpsc::Sender<Parcel>>,
    /// Collected for each, until the end of the batch.
    waiting: Vec<Vec<Misdirected>>,
}

/// Every worker's queue, and the ways to all of them.
pub fn couriers(workers: u8) -> (Vec<mpsc::Receiver<Parcel>>, impl Fn() -> Couriers) {
    let (to, queues): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(QUEUE)).unzip();
    let couriers = move || Couriers { to: to.clone(), waiting: to.iter().map(|_| Vec::new()).collect() };
    (queues, couriers)
}

impl Couriers {
    /// Keeps a datagram for the worker that it belongs to.
    pub fn collect(&mut self, Handover { worker, initiator }: Handover, from: SocketAddr, datagram: &[u8]) {
        if let Some(waiting) = self.waiting.get_mut(usize::from(worker)) {
            waiting.push(Misdirected { from, initiator, bytes: datagram.to_vec() });
        }
    }

    /// Sends off what was collected. Answers how many datagrams were dropped.
    pub fn send_off(&mut self) -> usize {
        let mut dropped = 0;
        for (to, waiting) in self.to.iter().zip(&mut self.waiting).filter(|(_, waiting)| !waiting.is_empty())
        {
            let count = waiting.len();
            if to.try_send(Parcel::Datagrams(std::mem::take(waiting))).is_err() {
                dropped += count;
            }
        }
        dropped
    }

    /// How many parcels wait for a worker, and how many may.
    pub fn waiting_for(&self, worker: u8) -> (usize, usize) {
        self.to.get(usize::from(worker)).map_or((0, QUEUE), |to| (QUEUE - to.capacity(), QUEUE))
    }

    /// Sends a packet from the recording network. Answers whether there was room.
    pub fn send_frame(&self, worker: u8, frame: Frame) -> bool {
        self.to.get(usize::from(worker)).is_some_and(|to| to.try_send(Parcel::Lan(Box::new(frame))).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_worker_is_counted_and_what_finds_no_room_is_dropped() {
        let (mut queues, couriers) = couriers(2);
        let mut couriers = couriers();
        let from = SocketAddr::from(([192, 0, 2, 1], 1));
        let pass = |couriers: &mut Couriers| {
            couriers.collect(Handover { worker: 1, initiator: None }, from, b"datagram");
            couriers.send_off()
        };
        assert_eq!(couriers.waiting_for(1), (0, QUEUE));
        assert_eq!((0..QUEUE).map(|_| pass(&mut couriers)).sum::<usize>(), 0);
        assert_eq!(couriers.waiting_for(1), (QUEUE, QUEUE));
        assert_eq!(pass(&mut couriers), 1);
        queues[1].try_recv().unwrap();
        assert_eq!(couriers.waiting_for(1), (QUEUE - 1, QUEUE));
        assert_eq!(couriers.waiting_for(0), (0, QUEUE));
    }
}
