//! Long paths are filled. Virtual time: the numbers are the protocol's, not the machine's.

use std::time::Duration;

use super::link::Conditions;
use super::pair::{Pair, pattern, read, write};

/// Sends for `time` from server to client and answers the mean rate in Mbit/s of the time after `warm_up`.
fn rate(conditions: Conditions, seed: u64, warm_up: Duration, time: Duration) -> f64 {
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
    counted as f64 * 8.0 / time.as_secs_f64() / 1e6
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
    assert!(rate > 28.0, "{rate:.1} Mbit/s of 40");
}

#[test]
fn random_loss_is_not_taken_for_congestion() {
    // RFC 9438, section 5.1: in its Reno-friendly region CUBIC keeps about 1.2 / sqrt(0.005) = 17 segments on the way.
    let conditions = Conditions { delay: Duration::from_millis(40), lost: 5, ..Conditions::default() };
    let rate = rate(conditions, 3, Duration::from_secs(2), Duration::from_secs(60));
    println!("{rate:.2} Mbit/s");
    // CUBIC alone would settle at 2.4 Mbit/s (RFC 9438, section 5.1).
    assert!(rate > 8.0, "{rate:.2} Mbit/s");
}
