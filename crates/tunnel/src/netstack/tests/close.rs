//! How connections end: half-close, reset, refusal, silence, and what is left afterwards.

use std::time::Duration;

use super::super::{Broken, Readable};
use super::link::Conditions;
use super::pair::{Pair, broken, pattern, read, readable, write};

fn pair(seed: u64) -> Pair {
    Pair::new(Conditions { delay: Duration::from_millis(10), lost: 20, ..Conditions::default() }, seed)
}

#[test]
fn either_side_may_close_first_and_still_receive() {
    for (seed, client_first) in [(1, true), (2, false), (3, true), (4, false)] {
        let mut pair = pair(seed);
        let (client, server) = pair.connect();
        let data = pattern(100_000, seed);
        let Pair { client: c, server: s, .. } = &mut pair;
        if client_first {
            c.shutdown_write(client)
        } else {
            s.shutdown_write(server)
        }
        let end_of_stream = |pair: &mut Pair, of_client: bool| match of_client {
            true => readable(&mut pair.server, server) == Some(Readable::Eof),
            false => readable(&mut pair.client, client) == Some(Readable::Eof),
        };
        pair.run_until(|pair| end_of_stream(pair, client_first));

        // The other direction goes on after its peer has closed.
        let mut received = Vec::new();
        match client_first {
            true => assert_eq!(write(&mut pair.server, server, &data), data.len()),
            false => assert_eq!(write(&mut pair.client, client, &data), data.len()),
        }
        pair.run_until(|pair| {
            match client_first {
                true => read(&mut pair.client, client, &mut received),
                false => read(&mut pair.server, server, &mut received),
            };
            received.len() == data.len()
        });
        assert!(received == data);
        if client_first {
            pair.server.shutdown_write(server)
        } else {
            pair.client.shutdown_write(client)
        }
        pair.run_until(|pair| end_of_stream(pair, !client_first));
        assert_eq!((broken(&mut pair.client, client), broken(&mut pair.server, server)), (None, None));

        pair.client.release(client);
        pair.server.release(server);
        pair.run_until(|pair| pair.client.is_empty() && pair.server.is_empty());
        assert_eq!((pair.client.reserved_bytes(), pair.server.reserved_bytes()), (0, 0));
    }
}

#[test]
fn a_reset_reaches_the_other_side_as_a_reset() {
    for client_resets in [true, false] {
        // Without loss: a reset is sent once, and one that is lost is noticed only by the next segment.
        let mut pair = Pair::new(Conditions { delay: Duration::from_millis(10), ..Conditions::default() }, 5);
        let (client, server) = pair.connect();
        if client_resets {
            pair.client.abort(client)
        } else {
            pair.server.abort(server)
        }
        pair.run_for(Duration::from_secs(1));
        let ends = (readable(&mut pair.client, client), readable(&mut pair.server, server));
        let (aborted, reset) =
            (Some(Readable::Broken(Broken::Aborted)), Some(Readable::Broken(Broken::Reset)));
        assert_eq!(ends, if client_resets { (aborted, reset) } else { (reset, aborted) });

        pair.client.release(client);
        pair.server.release(server);
        pair.step();
        assert!(pair.client.is_empty() && pair.server.is_empty(), "a reset leaves nothing to wait for");
    }
}

#[test]
fn data_that_arrived_before_a_reset_can_still_be_read() {
    let mut pair = Pair::new(Conditions::default(), 6);
    let (client, server) = pair.connect();
    write(&mut pair.server, server, b"last words");
    pair.run_for(Duration::from_millis(100));
    pair.server.abort(server);
    pair.run_for(Duration::from_millis(100));
    let mut received = Vec::new();
    read(&mut pair.client, client, &mut received);
    assert_eq!(received, b"last words");
    assert_eq!(readable(&mut pair.client, client), Some(Readable::Broken(Broken::Reset)));
}

#[test]
fn a_reset_after_the_end_of_stream_is_noticed() {
    let mut pair = Pair::new(Conditions::default(), 7);
    let (client, server) = pair.connect();
    pair.server.shutdown_write(server);
    pair.run_until(|pair| readable(&mut pair.client, client) == Some(Readable::Eof));
    pair.server.abort(server);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(broken(&mut pair.client, client), Some(Broken::Reset));
}

#[test]
fn a_close_before_the_handshake_is_complete_waits_for_it() {
    let mut pair = pair(8);
    let (port, client) = pair.start_connect("10.0.0.1", "192.168.1.1:80");
    pair.client.shutdown_write(client);
    pair.run_until(|pair| pair.server_id(port).is_some());
    let server = pair.server_id(port).unwrap();
    pair.server.shutdown_write(server);
    pair.run_until(|pair| {
        readable(&mut pair.server, server) == Some(Readable::Eof)
            && readable(&mut pair.client, client) == Some(Readable::Eof)
    });
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut pair = pair(9);
    pair.link.cut = true;
    let (_, client) = pair.start_connect("10.0.0.1", "192.168.1.1:80");
    pair.run_until(|pair| broken(&mut pair.client, client).is_some());
    assert_eq!(broken(&mut pair.client, client), Some(Broken::TimedOut));
    assert!(pair.elapsed() <= Duration::from_secs(31), "no handshake: {:?}", pair.elapsed());

    pair.link.cut = false;
    let (client, server) = pair.connect();
    write(&mut pair.server, server, b"are you there");
    pair.link.cut = true;
    let from = pair.now;
    pair.run_until(|pair| broken(&mut pair.server, server).is_some());
    assert_eq!(broken(&mut pair.server, server), Some(Broken::TimedOut));
    assert!(pair.now - from >= Duration::from_secs(15 * 60));
    assert_eq!(broken(&mut pair.client, client), None, "the idle end has nothing to be impatient about");
}

#[test]
fn an_idle_connection_stays_for_days() {
    let mut pair = Pair::new(Conditions::default(), 10);
    let (client, server) = pair.connect();
    pair.run_for(Duration::from_secs(3 * 24 * 3600));
    let sent = pair.packets_sent;
    pair.run_for(Duration::from_secs(3600));
    assert_eq!(pair.packets_sent, sent, "no keep-alives");
    write(&mut pair.client, client, b"good morning");
    let mut received = Vec::new();
    pair.run_until(|pair| read(&mut pair.server, server, &mut received) > 0);
    assert_eq!(received, b"good morning");
}

#[test]
fn a_released_connection_delivers_what_was_written() {
    for seed in 11..16 {
        let mut pair = pair(seed);
        let (client, server) = pair.connect();
        let data = pattern(50_000, seed);
        assert_eq!(write(&mut pair.client, client, &data), data.len());
        pair.client.release(client);
        let mut received = Vec::new();
        pair.run_until(|pair| {
            read(&mut pair.server, server, &mut received);
            readable(&mut pair.server, server) == Some(Readable::Eof)
        });
        assert!(received == data);
        pair.server.release(server);
        pair.run_until(|pair| pair.client.is_empty() && pair.server.is_empty());
    }
}

#[test]
fn a_released_connection_resets_a_peer_that_goes_on_sending() {
    let mut pair = Pair::new(Conditions { delay: Duration::from_millis(10), ..Conditions::default() }, 16);
    let (client, server) = pair.connect();
    pair.client.release(client);
    pair.run_for(Duration::from_millis(100));
    write(&mut pair.server, server, b"anyone?");
    pair.run_for(Duration::from_millis(100));
    assert_eq!(broken(&mut pair.server, server), Some(Broken::Reset));
    assert!(pair.client.is_empty());
}

#[test]
fn a_half_closed_connection_nobody_uses_is_gone_in_a_minute() {
    let mut pair = Pair::new(Conditions::default(), 17);
    let (client, _) = pair.connect();
    pair.client.release(client);
    pair.run_for(Duration::from_secs(61));
    assert!(pair.client.is_empty());
}
