//! Datagrams from the internet, at the gateway and at the client.

use std::net::SocketAddr;
use std::time::Duration;

use vmsgate_tunnel::sink::DatagramQueue;

use crate::inner::Steps;
use crate::wire::{address_to, complete};
use crate::world::{ENDPOINT, OUTSIDE, OWN, PORTS, SERVER, World};

/// The input is a list of steps. A stranger gets less than it sent, and nothing of it goes anywhere.
pub(crate) fn datagrams(input: &[u8]) -> u64 {
    let mut world = World::new();
    let mut answers = 0;
    for (step, bytes) in Steps(input) {
        let passed = world.egress.packets;
        let (stranger, datagram) = match step % 7 {
            0 => (true, bytes.to_vec()),
            1 => (true, addressed(&world, bytes)),
            2 => (false, spoiled(initiation(&mut world), bytes)),
            3 => (false, spoiled(data(&mut world), bytes)),
            4 => {
                // As if it were of a session that there is.
                let known = data(&mut world);
                let mut bytes = bytes.to_vec();
                if let (Some(index), Some(room)) = (known.get(4..8), bytes.get_mut(4..8)) {
                    room.copy_from_slice(index);
                }
                (true, bytes)
            }
            5 => {
                world.reach_client(ENDPOINT, bytes);
                continue;
            }
            _ => {
                world.pass(Duration::from_millis(bytes.len() as u64 * 100));
                let mut up = DatagramQueue::default();
                world.client.connect(world.now, &mut up);
                world.carry(up);
                continue;
            }
        };
        let from = SocketAddr::new([203, 0, 113, step].into(), 4000);
        let answer = world.arrive(if stranger { from } else { OUTSIDE }, &datagram);
        let answered: usize = answer.datagrams.iter().map(|(_, bytes)| bytes.len()).sum();
        if stranger {
            assert_eq!(world.egress.packets, passed, "a stranger's bytes went somewhere");
            assert!(answered <= datagram.len(), "{answered} bytes for {}", datagram.len());
        }
        for (_, bytes) in answer.datagrams {
            world.reach_client(ENDPOINT, &bytes);
            answers += 1;
        }
    }
    answers + world.egress.packets
}

/// An initiation whose mac1 is right and whose rest is the input's.
fn addressed(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut message = [0; 148];
    let length = bytes.len().min(112);
    message[4..4 + length].copy_from_slice(&bytes[..length]);
    message[0] = 1;
    address_to(&mut message, &world.key);
    message.to_vec()
}

fn initiation(world: &mut World) -> Vec<u8> {
    let mut out = DatagramQueue::default();
    world.client.connect(world.now, &mut out);
    first(out)
}

fn data(world: &mut World) -> Vec<u8> {
    let mut packet = vec![0; 32];
    packet[0] = 0x45;
    packet[9] = 17;
    if let (std::net::IpAddr::V4(own), std::net::IpAddr::V4(server)) = (OWN[0], SERVER[0]) {
        packet[12..16].copy_from_slice(&own.octets());
        packet[16..20].copy_from_slice(&server.octets());
    }
    packet[20..22].copy_from_slice(&5000_u16.to_be_bytes());
    packet[22..24].copy_from_slice(&PORTS[0].to_be_bytes());
    complete(&mut packet);
    first(world.sealed(&packet))
}

fn first(queue: DatagramQueue) -> Vec<u8> {
    queue.datagrams.into_iter().next().map(|(_, bytes)| bytes).unwrap_or_default()
}

/// A good datagram with the input's first two bytes saying where, and the rest what is altered.
fn spoiled(mut datagram: Vec<u8>, how: &[u8]) -> Vec<u8> {
    if let Some(([at, cut], altered)) = how.split_first_chunk() {
        for (byte, with) in datagram.iter_mut().skip(usize::from(*at)).zip(altered) {
            *byte ^= with;
        }
        if *cut > 0 {
            datagram.truncate(usize::from(*cut));
        }
    }
    datagram
}
