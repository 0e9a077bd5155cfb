//! Long paths are filled. Virtual time: the numbers are the protocol's, not the machine's.

use std::time::Duration;

use super::link::Conditions;
use super::pair::{Pair, pattern, read, write};

/// Sends for `time` from server to client and answers the mean rate in Mbit/s of the time after `warm_up`.
fn rate(conditions: Conditions, seed: u64, warm_up: Duration, time: Duration) -> f64 {
    rate_and_overflow(conditions, seed, warm_up, time).0
}

/// The same, and which part of all packets found the queue full.
fn rate_and_overflow(conditions: Conditions, seed: u64, warm_up: Duration, time: Duration) -> (f64, f64) {
    let mut pair = Pair::new(conditions, seed);
    let (client, server) = pair.connect();
    let data = pattern(8 << 20, seed);
    let (mut received, mut counted) = (Vec::new(), 0);
    let (from, end) = (pair.now + warm_up, pair.now + warm_up + time);
    pair.run_until(|pair| {
        write(&mut pair.server, server, &data);
        let read = read(&mut pair.client, client, &mut received);
        received.clear();
        if pair.now >= from {
            counted += read;
        }
        pair.now >= end
    });
    let overflow = pair.link.overflowed as f64 / pair.packets_sent as f64;
    (counted as f64 * 8.0 / time.as_secs_f64() / 1e6, overflow)
}

#[test]
fn a_path_of_80_ms_carries_200_mbit_per_second() {
    let conditions = Conditions { delay: Duration::from_millis(40), ..Conditions::default() };
    let rate = rate(conditions, 1, Duration::from_secs(2), Duration::from_secs(3));
    println!("{rate:.0} Mbit/s");
    assert!(rate >= 200.0, "{rate:.0} Mbit/s");
}

#[test]
fn a_bottleneck_with_an_overflowing_queue_stays_in_use() {
    // 40 Mbit/s at 80 ms, and half a window fits into the queue: slow start ends in a burst of losses.
    let conditions = Conditions {
        delay: Duration::from_millis(40),
        rate: 5_000_000,
        queue_bytes: 200_000,
        ..Conditions::default()
    };
    let rate = rate(conditions, 2, Duration::ZERO, Duration::from_secs(20));
    println!("{rate:.1} Mbit/s of 40");
    assert!(rate > 34.0, "{rate:.1} Mbit/s of 40");
}

#[test]
fn a_queue_far_shorter_than_the_path_is_hardly_overrun_and_the_path_stays_in_use() {
    // 40 Mbit/s at 80 ms hold 400 kB; a tenth of that fits into the queue, as behind a policer.
    let conditions = Conditions {
        delay: Duration::from_millis(40),
        rate: 5_000_000,
        queue_bytes: 40_000,
        ..Conditions::default()
    };
    let (rate, overflow) = rate_and_overflow(conditions, 5, Duration::ZERO, Duration::from_secs(20));
    println!("{rate:.1} Mbit/s of 40, {:.2} % overflowed", overflow * 100.0);
    assert!(rate > 30.0, "{rate:.1} Mbit/s of 40");
    assert!(overflow < 0.03, "{:.2} % overflowed", overflow * 100.0);
}

#[test]
fn random_loss_is_not_taken_for_congestion() {
    // CUBIC would settle at 2.4 Mbit/s at half a percent: about 1.2 / sqrt(0.005) = 17 segments (RFC 9438, section 5.1).
    for (lost, least) in [(5, 150.0), (10, 100.0)] {
        let conditions = Conditions { delay: Duration::from_millis(40), lost, ..Conditions::default() };
        let rate = rate(conditions, 3, Duration::from_secs(2), Duration::from_secs(6));
        println!("{rate:.0} Mbit/s at {lost} of 1000");
        assert!(rate > least, "{rate:.0} Mbit/s at {lost} of 1000");
    }
}

#[test]
fn a_fast_path_with_a_short_queue_is_not_overrun() {
    // A client's socket buffer of 100 datagrams, emptied at 1 Gbit/s: a window that leaves in one burst overflows it.
    let conditions = Conditions {
        delay: Duration::from_millis(40),
        rate: 125_000_000,
        queue_bytes: 140_000,
        ..Conditions::default()
    };
    let rate = rate(conditions, 4, Duration::from_secs(2), Duration::from_secs(3));
    println!("{rate:.0} Mbit/s");
    assert!(rate > 200.0, "{rate:.0} Mbit/s");
}
