//! Connections share a stack fairly, and memory stays within its limits.

use std::time::Duration;

use super::super::{AcceptError, MemoryLimits, StackConfig};
use super::link::Conditions;
use super::pair::{OWNER, Pair, pattern, write};

#[test]
fn sixty_four_connections_share_a_link_fairly() {
    let conditions = Conditions {
        delay: Duration::from_millis(5),
        rate: 20_000_000,
        queue_bytes: 400_000,
        ..Conditions::default()
    };
    let mut pair = Pair::new(conditions, 1);
    let received = pair.received_by_greedy(64, Duration::from_secs(20));
    let (least, most) = (received.iter().min().unwrap(), received.iter().max().unwrap());
    let total: usize = received.iter().sum();
    println!("least {least}, most {most}, total {total}");
    assert!(total > 20 * 20_000_000 * 8 / 10, "the link is well used: {total} bytes in 20 s");
    assert!(most / least < 4, "each gets a comparable share: {least} to {most} bytes");
}

#[test]
fn a_stack_with_much_to_send_serves_all_within_one_budget() {
    let mut pair = Pair::new(Conditions::default(), 2);
    let ids: Vec<_> = (0..64).map(|_| pair.connect()).collect();
    for &(client, _) in &ids {
        write(&mut pair.client, client, &pattern(2000, 2));
    }
    let mut served = std::collections::HashSet::new();
    let more = pair.client.poll_transmit(pair.now, 64 * 2, &mut |id, _| {
        served.insert(id);
    });
    assert_eq!(served.len(), 64);
    assert!(!more || pair.client.has_work());
}

#[test]
fn memory_limits_hold_and_what_is_released_is_available_again() {
    let memory = MemoryLimits { per_owner_bytes: 32 << 20, total_bytes: 64 << 20 };
    let config = StackConfig { memory, ..StackConfig::default() };
    let mut pair = Pair::with_config(config, Conditions::default(), 3);
    let mut syn = Vec::new();
    pair.start_connect("10.0.0.1", "192.168.1.1:80");
    pair.client.poll_transmit(pair.now, 1, &mut |_, packet| syn = packet.to_vec());

    let mut opened = Vec::new();
    let refusal = loop {
        match pair.server.accept(OWNER, &syn, pair.now) {
            Ok(id) => opened.push(id),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, AcceptError::OutOfMemory);
    assert!(opened.len() > 20, "buffers shrink before connections are refused: {}", opened.len());
    assert!(pair.server.reserved_bytes() <= memory.per_owner_bytes);

    for id in opened {
        pair.server.release(id);
    }
    pair.step();
    assert_eq!((pair.server.reserved_bytes(), pair.server.len()), (0, 0));
    assert!(pair.server.accept(OWNER, &syn, pair.now).is_ok());
}
