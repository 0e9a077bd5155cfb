//! What a fuzzer cannot guess: checksums of packets and the mac1 of handshakes.

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};

/// Writes right lengths and checksums into a packet of TCP, UDP or ICMP without options.
pub fn complete(packet: &mut [u8]) {
    let length = packet.len();
    match packet.first().map(|first| first >> 4) {
        Some(4) if length >= 20 => {
            put(packet, 2, length as u16);
            put(packet, 10, 0);
            let sum = !fold(sum(&packet[..20]));
            put(packet, 10, sum);
            let protocol = packet[9];
            let pseudo = sum_of_pseudo(&packet[12..20], protocol, length - 20);
            complete_transport(&mut packet[20..], protocol, if protocol == 1 { 0 } else { pseudo });
        }
        Some(6) if length >= 40 => {
            put(packet, 4, (length - 40) as u16);
            let protocol = packet[6];
            let pseudo = sum_of_pseudo(&packet[8..40], protocol, length - 40);
            complete_transport(&mut packet[40..], protocol, pseudo);
        }
        _ => {}
    }
}

/// Writes the mac1 that names the gateway of this public key (paper, section 5.4.4).
pub fn address_to(initiation: &mut [u8; 148], gateway: &[u8; 32]) {
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(gateway).finalize();
    if let Ok(mac) = <Blake2sMac<U16> as KeyInit>::new_from_slice(&key) {
        let tag = mac.chain_update(&initiation[..116]).finalize().into_bytes();
        initiation[116..132].copy_from_slice(&tag);
    }
}

fn complete_transport(body: &mut [u8], protocol: u8, pseudo: u32) {
    let at = match protocol {
        6 => 16,
        17 => {
            let length = body.len() as u16;
            put(body, 4, length);
            6
        }
        1 | 58 => 2,
        _ => return,
    };
    put(body, at, 0);
    let sum = !fold(pseudo + sum(body));
    put(body, at, sum);
}

fn sum_of_pseudo(addresses: &[u8], protocol: u8, length: usize) -> u32 {
    sum(addresses) + u32::from(protocol) + length as u32
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put(packet: &mut [u8], at: usize, value: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
