//! Connections that wait for their turn within one bandwidth.

use std::time::Duration;

use super::link::Conditions;
use super::pair::{Pair, pattern, read, write};
use crate::bandwidth::{Limit, Line};

/// 10 Mbit/s.
const LIMIT: u32 = 1_250_000;
/// 25 frames of 20 kB a second are 4 Mbit/s.
const FRAME: usize = 20_000;
const FRAMES: usize = 250;
const PERIOD: Duration = Duration::from_millis(40);

fn limited(seed: u64) -> Pair {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        rate: 12_500_000,
        queue_bytes: 500_000,
        ..Conditions::default()
    };
    let mut pair = Pair::new(conditions, seed);
    pair.line = Some(Line::new(Limit { bytes_per_second: LIMIT, rule: "".into() }, pair.now));
    pair
}

#[test]
fn an_export_leaves_a_live_stream_whole_and_in_time_and_uses_the_rest() {
    let mut pair = limited(7);
    let (export, live) = (pair.connect(), pair.connect());
    let (data, frame) = (pattern(64 << 10, 1), pattern(FRAME, 2));
    let (mut exported, mut seen, mut shown) = (0, 0, 0);
    // What was saved up before is used up.
    let begin = pair.now + Duration::from_secs(2);
    let mut late: Vec<Duration> = Vec::new();
    pair.run_until(|pair| {
        write(&mut pair.server, export.1, &data);
        let received = read(&mut pair.client, export.0, &mut Vec::new());
        exported += if pair.now < begin { 0 } else { received };
        while shown < FRAMES && pair.now >= begin + PERIOD * shown as u32 {
            assert_eq!(write(&mut pair.server, live.1, &frame), FRAME);
            shown += 1;
        }
        seen += read(&mut pair.client, live.0, &mut Vec::new());
        while late.len() < seen / FRAME {
            late.push(pair.now - (begin + PERIOD * late.len() as u32));
        }
        late.len() == FRAMES
    });
    let took = (pair.now - begin).as_secs_f64();
    late.sort();
    let (median, worst) = (late[FRAMES / 2], late[FRAMES - 1]);
    let rate = (exported + seen) as f64 / took / f64::from(LIMIT);
    println!("median {median:?}, worst {worst:?}, {:.1} % of the limit with its headers gone", rate * 100.0);
    // A frame alone on this line: 16 ms to send and 20 ms on the way; beside the export twice the first.
    assert!(median < Duration::from_millis(80), "{median:?}");
    assert!(worst < Duration::from_millis(200), "{worst:?}");
    assert!((0.92..=1.02).contains(&rate), "{rate}");
}

#[test]
fn greedy_connections_have_the_same() {
    let mut pair = limited(8);
    let received = pair.received_by_greedy(16, Duration::from_secs(20));
    let (least, most) = (received.iter().min().unwrap(), received.iter().max().unwrap());
    println!("least {least}, most {most}");
    assert!(most * 100 / least < 120, "{least} to {most} bytes");
}

#[test]
fn nobody_waits_for_a_turn_longer_than_the_limit_is_there() {
    let mut pair = limited(9);
    let (client, server) = pair.connect();
    let data = pattern(4 << 20, 1);
    let mut sent = write(&mut pair.server, server, &data);
    pair.run_for(Duration::from_millis(500));
    pair.line = None;
    let before = read(&mut pair.client, client, &mut Vec::new());
    let start = pair.now;
    let mut received = before;
    pair.run_until(|pair| {
        sent += write(&mut pair.server, server, &data[sent..]);
        received += read(&mut pair.client, client, &mut Vec::new());
        received == data.len()
    });
    assert!(before < 1_000_000, "{before}");
    assert!(pair.now - start < Duration::from_secs(3), "{:?} for 3 MB at 100 Mbit/s", pair.now - start);
}
