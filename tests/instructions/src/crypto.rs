//! One message's cryptography with boringtun's bookkeeping: 1420 bytes sealed, and opened.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use vmsgate_tunnel::noise::{Identity, Opened, Tunnel, TunnelKeys};
use x25519_dalek::StaticSecret;

use crate::{
    measured,
    wire::{ACK, Way, tcp_packet},
    world::PAYLOAD,
};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));

pub(crate) fn seal(rounds: u32) -> Result<()> {
    let [mut client, _] = pair()?;
    let mut packet = tcp_packet(Way::Up, ACK, 1, PAYLOAD);
    let len = packet.len();
    packet.extend([0; 15]);
    let mut out = vec![0; 2048];
    for _ in 0..rounds {
        let sealed = measured(|| client.seal(&mut packet, len, &mut out));
        ensure!(matches!(sealed, Ok(Some(message)) if message.len() > len), "not sealed");
    }
    Ok(())
}

pub(crate) fn open(rounds: u32) -> Result<()> {
    let [mut client, mut gateway] = pair()?;
    let packet = tcp_packet(Way::Up, ACK, 1, PAYLOAD);
    let (mut sealed, mut opened) = (vec![0; 2048], vec![0; 2048]);
    for _ in 0..rounds {
        let mut padded = packet.clone();
        padded.extend([0; 15]);
        let message = client.seal(&mut padded, packet.len(), &mut sealed);
        let message = message.ok().flatten().context("not sealed")?;
        let result = measured(|| gateway.open(SOURCE, message, &mut opened));
        ensure!(matches!(result, Ok(Opened::Packet(inner)) if inner.len() == packet.len()), "not opened");
    }
    Ok(())
}

/// Two ends with keys.
fn pair() -> Result<[Tunnel; 2]> {
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let identities = [1, 2].map(|seed| Identity::new(StaticSecret::from([seed; 32])));
    let mut tunnel = |own: &Identity, other: &Identity, index| {
        let keys = TunnelKeys { peer: other.public(), preshared: None, persistent_keepalive: None };
        Tunnel::new(own, keys, index, now, &mut rng)
    };
    let [a, b] = &identities;
    let (mut client, mut gateway) = (tunnel(a, b, 1), tunnel(b, a, 2));
    let mut rooms = [(); 3].map(|()| vec![0; 2048]);
    let [first, second, third] = &mut rooms;
    let initiation = client.initiate(first, true, now, &mut rng).context("no initiation")?;
    let Ok(Opened::Reply(response)) = gateway.open(SOURCE, initiation, second) else { bail!("no response") };
    let Ok(Opened::Reply(confirmation)) = client.open(SOURCE, response, third) else {
        bail!("no confirmation")
    };
    let confirmed = gateway.open(SOURCE, confirmation, first);
    ensure!(matches!(confirmed, Ok(Opened::Keepalive)), "not confirmed: {confirmed:?}");
    Ok([client, gateway])
}
