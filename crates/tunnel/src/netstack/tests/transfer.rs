//! Bytes arrive complete and in order, whatever the link does; a reader that stops stops the writer.

use std::time::Duration;

use super::super::{MemoryLimits, Readable, StackConfig};
use super::link::Conditions;
use super::pair::{Pair, pattern, read, readable, write};

/// How many random paths are tried.
const SEEDS: u64 = 100;

fn both_ways(mut pair: Pair, seed: u64, len: usize) {
    let (client, server) = pair.connect();
    let (up, down) = (pattern(len, seed), pattern(len, !seed));
    let (mut up_sent, mut down_sent) = (0, 0);
    let (mut up_read, mut down_read) = (Vec::new(), Vec::new());
    pair.run_until(|pair| {
        up_sent += write(&mut pair.client, client, &up[up_sent..]);
        down_sent += write(&mut pair.server, server, &down[down_sent..]);
        if up_sent == len {
            pair.client.shutdown_write(client);
        }
        if down_sent == len {
            pair.server.shutdown_write(server);
        }
        read(&mut pair.server, server, &mut up_read);
        read(&mut pair.client, client, &mut down_read);
        readable(&mut pair.server, server) == Some(Readable::Eof)
            && readable(&mut pair.client, client) == Some(Readable::Eof)
    });
    assert!(up_read == up, "upward bytes arrive intact (seed {seed})");
    assert!(down_read == down, "downward bytes arrive intact (seed {seed})");
}

#[test]
fn a_transfer_both_ways_survives_loss_reordering_and_duplication() {
    for seed in 1..=12 {
        let conditions = Conditions {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(15),
            lost: 20,
            duplicated: 20,
            ..Conditions::default()
        };
        both_ways(Pair::new(conditions, seed), seed, 300_000);
    }
}

#[test]
fn a_transfer_both_ways_survives_a_slow_link_with_a_short_queue() {
    let conditions = Conditions {
        delay: Duration::from_millis(30),
        rate: 2_000_000,
        queue_bytes: 60_000,
        ..Conditions::default()
    };
    both_ways(Pair::new(conditions, 77), 77, 3_000_000);
}

#[test]
fn heavy_loss_is_survived_too() {
    let conditions = Conditions { delay: Duration::from_millis(5), lost: 200, ..Conditions::default() };
    for seed in 20..24 {
        both_ways(Pair::new(conditions, seed), seed, 50_000);
    }
}

#[test]
fn a_reader_that_stops_stops_the_writer_and_nothing_is_lost() {
    let mut pair = Pair::new(Conditions { delay: Duration::from_millis(10), ..Conditions::default() }, 5);
    let (client, server) = pair.connect();
    let data = pattern(32 << 20, 5);
    let mut sent = 0;
    let end = pair.now + Duration::from_secs(120);
    pair.run_until(|pair| {
        sent += write(&mut pair.server, server, &data[sent..]);
        pair.now >= end
    });
    let capacity = pair.client.receive_capacity(client) + pair.server.receive_capacity(server);
    assert!(sent <= capacity, "{sent} bytes were buffered, at most {capacity} may be");
    let quiet = pair.packets_sent;
    pair.run_for(Duration::from_secs(600));
    assert!(pair.packets_sent - quiet < 100, "a closed window is probed, not hammered");

    let mut received = Vec::new();
    pair.run_until(|pair| {
        sent += write(&mut pair.server, server, &data[sent..]);
        read(&mut pair.client, client, &mut received);
        received.len() == data.len()
    });
    assert!(received == data);
}

#[test]
fn a_connection_outlives_an_outage_of_ten_minutes() {
    let mut pair = Pair::new(Conditions { delay: Duration::from_millis(10), ..Conditions::default() }, 6);
    let (client, server) = pair.connect();
    write(&mut pair.server, server, &pattern(100_000, 6));
    pair.link.cut = true;
    pair.run_for(Duration::from_secs(600));
    pair.link.cut = false;
    let mut received = Vec::new();
    pair.run_until(|pair| {
        read(&mut pair.client, client, &mut received);
        received.len() == 100_000
    });
    assert!(received == pattern(100_000, 6));
}

#[test]
fn ipv6_works_alike() {
    let mut pair = Pair::new(Conditions { lost: 20, ..Conditions::default() }, 7);
    let (port, client) = pair.start_connect("fd00:99::1", "[fd00:1::1]:443");
    pair.run_until(|pair| pair.established(port, client));
    let server = pair.server_id(port).unwrap();
    let data = pattern(200_000, 7);
    assert_eq!(write(&mut pair.client, client, &data), data.len());
    let mut received = Vec::new();
    pair.run_until(|pair| {
        read(&mut pair.server, server, &mut received);
        received.len() == data.len()
    });
    assert!(received == data);
}

/// Paths and stacks of all kinds: slow, long, lossy, with small buffers, with small packets.
#[test]
fn everything_arrives_over_any_path() {
    for seed in 1..=SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut sometimes = |most: u32| if rng.bool() { 0 } else { rng.u32(..most) };
        let conditions = Conditions {
            delay: Duration::from_micros(sometimes(200_000).into()),
            jitter: Duration::from_micros(sometimes(50_000).into()),
            lost: sometimes(150),
            duplicated: sometimes(100),
            rate: if sometimes(2) == 0 { 0 } else { 50_000 + u64::from(sometimes(10_000_000)) },
            queue_bytes: 10_000 + u64::from(sometimes(500_000)),
        };
        let per_owner_bytes = if rng.bool() { 256 << 10 } else { 256 << 20 };
        let memory = MemoryLimits { per_owner_bytes, ..MemoryLimits::default() };
        let config = StackConfig { mtu: rng.u16(576..9000), memory };
        println!("seed {seed}: {config:?} {conditions:?}");
        let pair = Pair::with_config(config, conditions, seed);
        both_ways(pair, seed, rng.usize(1..600_000));
    }
}
