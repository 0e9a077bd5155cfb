//! Long paths are filled. Virtual time: the numbers are the protocol's, not the machine's.

use std::time::Duration;

use super::link::Conditions;
use super::pair::{Pair, pattern, read, write};

/// Sends for `time` from server to client and answers the mean rate in Mbit/s of the time after `warm_up`.
fn rate(conditions: Conditions, seed: u64, warm_up: Duration, time: Duration) -> f64 {
    let mut pair = Pair::new(conditions, seed);
    let (client, server) = pair.connect();
    let data = pattern(1 << 20, seed);
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
fn explore() {
    for (lost, seed) in [(0, 1), (1, 2), (5, 3), (5, 4), (10, 5), (20, 6)] {
        let conditions = Conditions { delay: Duration::from_millis(40), lost, ..Conditions::default() };
        let r = rate(conditions, seed, Duration::from_secs(2), Duration::from_secs(30));
        println!("lost {lost}/1000: {r:.2} Mbit/s");
    }
    for queue_bytes in [50_000, 200_000, 1_000_000] {
        let conditions = Conditions {
            delay: Duration::from_millis(40),
            rate: 5_000_000,
            queue_bytes,
            ..Conditions::default()
        };
        for warm in [0, 3] {
            let r = rate(conditions, 7, Duration::from_secs(warm), Duration::from_secs(5));
            println!("40 Mbit/s bottleneck, queue {queue_bytes}, warm {warm}: {r:.2} Mbit/s");
        }
    }
}
