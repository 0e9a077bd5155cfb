//! Trains between the kernel and the gateway: cut into packets, and joined from them.

use std::hint::black_box;

use anyhow::{Result, ensure};
use vmsgate_netio::{Frame, TunBatch, UdpTrains};

use crate::{
    measured,
    wire::{ACK, Kernel, TRAIN, Way, tcp_packet, train},
    world::PAYLOAD,
};

/// A train from the kernel, cut into packets with headers and checksums of their own.
pub(crate) fn split(rounds: u32) -> Result<()> {
    let (bytes, mut frame) = (train(PAYLOAD), Frame::new());
    for _ in 0..rounds {
        ensure!(frame.read_from(&mut bytes.as_slice())?, "not a train");
        let cut = measured(|| {
            let mut packets = 0;
            while let Some(segment) = frame.next_segment() {
                black_box(segment);
                packets += 1;
            }
            packets
        });
        ensure!(cut == TRAIN, "{cut} packets");
    }
    Ok(())
}

/// Packets of one flow, joined and written as one train.
pub(crate) fn merge(rounds: u32) -> Result<()> {
    push_and_write(rounds, TRAIN, 1)
}

/// A packet that comes alone.
pub(crate) fn single(rounds: u32) -> Result<()> {
    push_and_write(rounds, 1, 1)
}

fn push_and_write(rounds: u32, count: usize, frames: u64) -> Result<()> {
    let packet = |n: usize| tcp_packet(Way::Up, ACK, (n * PAYLOAD) as u32, PAYLOAD);
    let packets: Vec<_> = (0..count).map(packet).collect();
    let mut batch = TunBatch::new(UdpTrains::Taken);
    for _ in 0..rounds {
        let before = batch.stats().frames;
        for packet in &packets {
            batch.room(packet.len()).copy_from_slice(packet);
            measured(|| batch.push(1, packet.len()));
        }
        ensure!(measured(|| batch.write_to(&mut Kernel))?, "not written");
        ensure!(batch.stats().frames - before == frames, "{:?}", batch.stats());
    }
    Ok(())
}
