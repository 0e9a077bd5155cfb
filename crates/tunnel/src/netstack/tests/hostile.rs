//! Whatever a client sends, nothing panics, nothing grows and the other connections go on.

use super::super::segment::Segment;
use super::super::{AcceptError, NetStack, PacketError, StackConfig};
use super::link::Conditions;
use super::pair::{OWNER, Pair, pattern, read, write};

/// A SYN, and packets with valid headers, caught from a stack.
fn specimens() -> Vec<Vec<u8>> {
    let mut pair = Pair::new(Conditions::default(), 1);
    let mut packets = Vec::new();
    for (local, remote) in [("10.0.0.1", "192.168.1.1:80"), ("fd00:99::1", "[fd00:1::1]:80")] {
        pair.start_connect(local, remote);
        while pair.client.poll_transmit(pair.now, 1, &mut |_, packet| packets.push(packet.to_vec())) {}
    }
    packets
}

#[test]
fn random_bytes_open_no_connection() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::new(Conditions::default(), seed);
    for _ in 0..20_000 {
        let mut packet = vec![0; rng.usize(0..200)];
        rng.fill(&mut packet);
        if let Some(first) = packet.first_mut() {
            *first = if rng.bool() { 0x45 } else { 0x60 };
        }
        if pair.server.accept(OWNER, &packet, pair.now).is_ok() {
            let segment = Segment::parse(&packet).expect("what is accepted parses");
            assert!(segment.syn && segment.ack.is_none());
        }
    }
}

#[test]
fn mutated_segments_do_not_panic_and_do_not_disturb_others() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::new(Conditions::default(), seed);
    let (client, server) = pair.connect();
    for _ in 0..200 {
        let (port, victim) = pair.start_connect("10.0.0.2", "192.168.1.1:80");
        pair.run_until(|pair| pair.server_id(port).is_some());
        let target = pair.server_id(port).unwrap();
        write(&mut pair.client, victim, &pattern(3000, 1));
        write(&mut pair.server, target, &pattern(3000, 1));
        let mut packets = Vec::new();
        while pair.client.poll_transmit(pair.now, 8, &mut |_, packet| packets.push(packet.to_vec())) {}
        for _ in 0..40 {
            let Some(packet) = packets.get(rng.usize(0..packets.len().max(1))) else { break };
            let mut packet = packet.clone();
            mutate(&mut packet, &mut rng);
            let _ = pair.server.handle_packet(target, &packet, pair.now);
            pair.step();
        }
        read(&mut pair.server, target, &mut Vec::new());
        pair.server.release(target);
        pair.client.release(victim);
    }
    let data = pattern(100_000, seed);
    let mut received = Vec::new();
    assert_eq!(write(&mut pair.client, client, &data), data.len());
    pair.run_until(|pair| {
        read(&mut pair.server, server, &mut received);
        received.len() == data.len()
    });
    assert!(received == data);
}

/// Changes what matters: sequence and acknowledgement numbers, flags, window, length; addresses and ports stay.
fn mutate(packet: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    let tcp = 20;
    for _ in 0..rng.usize(1..4) {
        match rng.u8(0..6) {
            0 => nudge(&mut packet[tcp + 4..tcp + 8], rng),
            1 => nudge(&mut packet[tcp + 8..tcp + 12], rng),
            2 => packet[tcp + 13] = rng.u8(..),
            3 => rng.fill(&mut packet[tcp + 14..tcp + 16]),
            4 => packet[tcp + 12] = rng.u8(5..16) << 4,
            _ => packet.truncate(rng.usize(40..=packet.len().max(40))),
        }
    }
}

/// Moves a number by little, by about a window, or anywhere.
fn nudge(field: &mut [u8], rng: &mut fastrand::Rng) {
    let value = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
    let by = match rng.u8(0..4) {
        0 => rng.u32(..3000),
        1 => rng.u32(..3000).wrapping_neg(),
        2 => rng.u32(..16 << 20),
        _ => rng.u32(..),
    };
    field.copy_from_slice(&value.wrapping_add(by).to_be_bytes());
}

/// A peer that ignores the unscaled window of the first flight and writes beyond our buffer.
#[test]
fn data_beyond_the_buffer_is_refused_even_before_the_first_scaled_window() {
    let mut pair = Pair::new(Conditions::default(), 3);
    let (client, server) = pair.connect();
    write(&mut pair.client, client, b"x");
    let mut packets = Vec::new();
    while pair.client.poll_transmit(pair.now, 8, &mut |_, packet| packets.push(packet.to_vec())) {}
    let data = packets.last().unwrap();
    for megabytes in [5, 4, 3, 2, 1] {
        let mut far = data.clone();
        let seq = u32::from_be_bytes([far[24], far[25], far[26], far[27]]);
        far[24..28].copy_from_slice(&seq.wrapping_add(megabytes << 20).to_be_bytes());
        pair.server.handle_packet(server, &far, pair.now).unwrap();
    }
    pair.server.handle_packet(server, data, pair.now).unwrap();
    let data = pattern(9 << 20, 3);
    let (mut sent, mut received) = (0, Vec::new());
    pair.run_until(|pair| {
        sent += write(&mut pair.client, client, &data[sent..]);
        read(&mut pair.server, server, &mut received);
        received.len() > 8 << 20
    });
}

#[test]
fn packets_are_checked_against_the_connection() {
    let mut pair = Pair::new(Conditions::default(), 4);
    let (_, server) = pair.connect();
    let now = pair.now;
    let specimens = specimens();
    assert_eq!(pair.server.handle_packet(server, &specimens[1], now), Err(PacketError::OtherConnection));
    assert_eq!(pair.server.handle_packet(server, b"E", now), Err(PacketError::Malformed));
    pair.server.abort(server);
    pair.server.release(server);
    pair.step();
    let unknown = pair.server.handle_packet(server, &specimens[0], now);
    assert_eq!(unknown, Err(PacketError::UnknownConnection));
}

#[test]
fn only_a_plain_syn_opens_a_connection() {
    let now = std::time::Instant::now();
    let mut stack = NetStack::new(StackConfig::default(), 5, now);
    for syn in specimens() {
        let flags = if syn[0] >> 4 == 4 { 33 } else { 53 };
        assert!(stack.accept(OWNER, &syn, now).is_ok());
        for bits in [0x00, 0x01, 0x10, 0x12, 0x04, 0x06, 0x03] {
            let mut other = syn.clone();
            other[flags] = bits;
            assert_eq!(stack.accept(OWNER, &other, now), Err(AcceptError::NotASyn), "flags {bits:#x}");
        }
    }
    assert_eq!(stack.len(), 2, "refused packets leave nothing behind");
}
