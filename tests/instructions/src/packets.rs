//! The decisions on a packet, each by itself.

use std::{hint::black_box, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use vmsgate_netio::Sum;
use vmsgate_tunnel::{
    flow::{Direction, FlowTable, Volume},
    packet::Packet,
    policy::{Protocol, Verdict},
};

use crate::{
    measured,
    wire::{ACK, SYN, Way, tcp_packet},
    world::{PAYLOAD, ROLE, SERVER, VIDEO, flow_limits, policy},
};

/// Headers, lengths and both checksums of a full packet.
pub(crate) fn parse(rounds: u32) -> Result<()> {
    let packet = tcp_packet(Way::Up, ACK, 1, PAYLOAD);
    for _ in 0..rounds {
        ensure!(measured(|| Packet::parse(black_box(&packet)).is_ok()), "malformed");
    }
    Ok(())
}

/// Whether a role may open a flow, which is asked once per flow.
pub(crate) fn decide(rounds: u32) -> Result<()> {
    let policy = policy();
    let role = policy.role(ROLE).context("no role")?;
    for _ in 0..rounds {
        let verdict = measured(|| policy.decide(role, black_box(SERVER).into(), Protocol::Tcp, VIDEO));
        ensure!(matches!(verdict, Verdict::Allow(_)), "refused: {verdict:?}");
    }
    Ok(())
}

/// A packet's flow among ten thousand, counted and its TCP state followed.
pub(crate) fn find_and_follow(rounds: u32) -> Result<()> {
    const CLIENTS: u32 = 10_000;
    let policy = policy();
    let role = policy.role(ROLE).context("no role")?;
    let Verdict::Allow(allowed) = policy.decide(role, SERVER.into(), Protocol::Tcp, VIDEO) else {
        bail!("refused")
    };
    let bytes = tcp_packet(Way::Up, ACK, 1, PAYLOAD);
    let packet = Packet::parse(&bytes).ok().context("malformed")?;
    let tuple = packet.five_tuple().context("no flow")?;
    let syn_bytes = tcp_packet(Way::Up, SYN, 0, 0);
    let syn = Packet::parse(&syn_bytes).ok().context("malformed")?;
    let volume = Volume::packet(bytes.len());
    let (mut flows, now) = (FlowTable::new(flow_limits(), 1), Instant::now());
    for client in 0..CLIENTS {
        let (id, _) = flows.open(client, tuple, allowed.clone(), now).ok().context("the table is full")?;
        // A connection in its middle: its first bytes, here clear text, have been seen.
        flows.follow(id, Direction::Up, syn.transport, &[], volume, now);
        flows.follow(id, Direction::Up, packet.transport, packet.payload(), volume, now);
    }
    for round in 0..rounds {
        let client = round % CLIENTS;
        measured(|| {
            let id = flows.find(client, tuple)?;
            Some(flows.follow(id, Direction::Up, packet.transport, packet.payload(), volume, now))
        })
        .context("no flow")?;
    }
    Ok(())
}

/// The internet checksum of a full packet.
pub(crate) fn checksum(rounds: u32) -> Result<()> {
    let packet = tcp_packet(Way::Up, ACK, 1, PAYLOAD);
    for _ in 0..rounds {
        black_box(measured(|| Sum::new().plus(black_box(&packet)).complement()));
    }
    Ok(())
}
