//! The gateway's whole path, from the datagram to the packet and back, without any system call.

use anyhow::{Result, ensure};
use vmsgate_netio::Frame;

use crate::{
    measured,
    wire::{ACK, Read, Single, TRAIN, Way, tcp_packet, train},
    world::{Nowhere, OUTSIDE, PAYLOAD, Slot, World},
};

/// An initiation to its response.
pub(crate) fn handshake(rounds: u32) -> Result<()> {
    const RESPONSE: usize = 92;
    let mut world = World::new();
    let (mut out, mut room) = (Slot::new(), vec![0; 65_536]);
    for _ in 0..rounds {
        let initiation = world.initiation()?;
        let gateway = &mut world.gateway;
        measured(|| {
            gateway.handle_datagram(OUTSIDE, &initiation, &mut room, world.now, &mut out, &mut Nowhere)
        });
        ensure!(out.bytes().len() == RESPONSE, "no response");
    }
    Ok(())
}

/// A datagram of an established flow to the packet in it.
pub(crate) fn inbound(rounds: u32) -> Result<()> {
    let mut world = World::with_flow()?;
    let (mut out, mut room) = (Slot::new(), vec![0; 65_536]);
    let before = received(&world);
    for round in 0..rounds {
        let packet = tcp_packet(Way::Up, ACK, 1 + round * PAYLOAD as u32, PAYLOAD);
        let datagram = world.sealed_by_client(&packet)?;
        let gateway = &mut world.gateway;
        measured(|| {
            gateway.handle_datagram(OUTSIDE, &datagram, &mut room, world.now, &mut out, &mut Nowhere)
        });
    }
    ensure!(
        received(&world) - before == u64::from(rounds),
        "packets were dropped: {:?}",
        world.gateway.counters()
    );
    Ok(())
}

/// A packet from the recording network to its datagram.
pub(crate) fn outbound(rounds: u32) -> Result<()> {
    let mut world = World::with_flow()?;
    let mut out = Slot::new();
    for round in 0..rounds {
        let mut packet = Single::new(tcp_packet(Way::Down, ACK, 1 + round * PAYLOAD as u32, PAYLOAD));
        measured(|| world.gateway.handle_lan(&mut packet, world.now, &mut out));
        ensure!(out.bytes().len() > PAYLOAD, "not sealed");
    }
    Ok(())
}

/// A train from the recording network, cut and sealed into datagrams.
pub(crate) fn outbound_train(rounds: u32) -> Result<()> {
    let mut world = World::with_flow()?;
    let (bytes, mut out) = (train(PAYLOAD), Slot::new());
    let mut read = Read(Frame::new());
    for _ in 0..rounds {
        ensure!(read.0.read_from(&mut bytes.as_slice())? && read.0.segments() == TRAIN, "not a train");
        measured(|| world.gateway.handle_lan(&mut read, world.now, &mut out));
        ensure!(out.bytes().len() > PAYLOAD, "not sealed");
    }
    Ok(())
}

/// Packets of the client's flow that were let through.
fn received(world: &World) -> u64 {
    world.gateway.flows().iter().map(|flow| flow.traffic.packets_up).sum()
}
