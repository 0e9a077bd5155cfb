//! Packets from inside a session, sealed by a client that holds a valid key, and the recording network's answers.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use vmsgate_tunnel::packet::Packet;

use crate::wire::complete;
use crate::world::{OWN, SERVER, World};

/// Key pairs live 180 s by boringtun's own clock: a world is made anew long before.
const RUNS_OF_A_WORLD: u32 = 500;

thread_local! {
    static WORLD: RefCell<(u32, Option<World>)> = const { RefCell::new((0, None)) };
}

/// A list of steps: one byte that says what, two of length, and as many bytes.
pub(crate) struct Steps<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Steps<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([step, low, high], rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([*low, *high]) & 0x7ff).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        self.0 = rest;
        Some((*step, bytes))
    }
}

/// What leaves is well-formed, the client's own, and allowed ([`crate::world::Egress`] checks it).
pub(crate) fn packets(input: &[u8]) -> u64 {
    WORLD.with_borrow_mut(|(runs, world)| {
        if *runs == 0 {
            *world = None;
        }
        *runs = (*runs + 1) % RUNS_OF_A_WORLD;
        let world = world.get_or_insert_with(World::joined);
        let before = world.egress.packets + world.received;
        for (step, bytes) in Steps(input) {
            run(world, step, bytes);
        }
        world.egress.packets + world.received - before
    })
}

/// The bits of a step: right checksums and lengths, the client's own source, a server as destination, from the server,
/// and time that passes.
fn run(world: &mut World, step: u8, bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    let down = step & 8 != 0;
    let (source, destination) = if down { (SERVER, OWN) } else { (OWN, SERVER) };
    if step & 2 != 0 {
        put_address(&mut packet, source, 0);
    }
    if step & 4 != 0 {
        put_address(&mut packet, destination, 1);
    }
    if step & 1 != 0 {
        complete(&mut packet);
    }
    for parsed in [Packet::parse(&packet), Packet::parse_trusted(&packet)].into_iter().flatten() {
        assert_eq!(parsed.bytes(), packet);
        assert!(packet.ends_with(parsed.payload()) && packet.ends_with(parsed.transport_bytes()));
    }
    if down {
        world.answer(&packet);
    } else {
        let up = world.sealed(&packet);
        world.carry(up);
    }
    if step & 16 != 0 {
        world.pass(Duration::from_secs(step.into()));
    }
}

fn put_address(packet: &mut [u8], of: [IpAddr; 2], second: usize) {
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let (octets, at) = match (v6, of) {
        (false, [IpAddr::V4(address), _]) => (address.octets().to_vec(), 12 + 4 * second),
        (true, [_, IpAddr::V6(address)]) => (address.octets().to_vec(), 8 + 16 * second),
        _ => return,
    };
    if let Some(field) = packet.get_mut(at..at + octets.len()) {
        field.copy_from_slice(&octets);
    }
}
