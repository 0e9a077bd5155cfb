use super::*;
use crate::reply;

struct Pair {
    client: Tunnel,
    gateway: Tunnel,
    rng: fastrand::Rng,
}

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn pair() -> Pair {
    let mut rng = fastrand::Rng::with_seed(7);
    let now = Instant::now();
    let client = Identity::new(StaticSecret::random_from_rng(rand_core::OsRng));
    let gateway = Identity::new(StaticSecret::random_from_rng(rand_core::OsRng));
    let keys = |peer| TunnelKeys { peer, preshared: Some([9; 32].into()), persistent_keepalive: None };
    Pair {
        client: Tunnel::new(&client, keys(gateway.public()), 1, now, &mut rng),
        gateway: Tunnel::new(&gateway, keys(client.public()), 2, now, &mut rng),
        rng,
    }
}

fn shake_hands(pair: &mut Pair) {
    let mut buffer = [0; 2048];
    let initiation =
        pair.client.initiate(&mut buffer, false, Instant::now(), &mut pair.rng).unwrap().to_vec();
    let Opened::Reply(response) = pair.gateway.open(SOURCE, &initiation, &mut buffer).unwrap() else {
        panic!()
    };
    let response = response.to_vec();
    let Opened::Reply(keepalive) = pair.client.open(SOURCE, &response, &mut buffer).unwrap() else {
        panic!()
    };
    let keepalive = keepalive.to_vec();
    assert!(matches!(pair.gateway.open(SOURCE, &keepalive, &mut buffer), Ok(Opened::Keepalive)));
}

fn inner(payload: usize) -> (Vec<u8>, usize) {
    let mut packet = vec![0xaa; 1500];
    let (from, to) = ("10.99.0.2:1".parse().unwrap(), "192.168.1.1:2".parse().unwrap());
    let len = reply::udp(from, to, &vec![1; payload], &mut packet).unwrap();
    (packet, len)
}

#[test]
fn transport_data_is_padded_to_sixteen_bytes_and_arrives_without_padding() {
    let mut pair = pair();
    shake_hands(&mut pair);
    for payload in 0..70 {
        let (mut packet, len) = inner(payload);
        let expected = packet[..len].to_vec();
        let mut sealed = [0; 2048];
        let message = pair.client.seal(&mut packet, len, &mut sealed).unwrap().unwrap().to_vec();
        assert_eq!((message.len() - OVERHEAD) % 16, 0);
        let mut opened = [0; 2048];
        let Ok(Opened::Packet(bytes)) = pair.gateway.open(SOURCE, &message, &mut opened) else { panic!() };
        assert_eq!(bytes, expected);
    }
}

#[test]
fn a_key_pair_stops_at_its_message_limit_in_both_directions() {
    let mut pair = pair();
    shake_hands(&mut pair);
    let limits = MessageLimits { rekey_after: 3, reject_after: 5 };
    pair.gateway.set_limits(limits);
    let mut sealed = [0; 2048];
    let (mut packet, len) = inner(10);
    let mut rekeys = 0;
    let mut refused = 0;
    for _ in 0..8 {
        match pair.gateway.seal(&mut packet, len, &mut sealed) {
            Ok(Some(message)) => {
                let message = message.to_vec();
                rekeys += u32::from(pair.gateway.wants_rekey(&message));
            }
            Err(Refused::Exhausted) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((rekeys, refused), (2, 3));
    let mut opened = [0; 2048];
    let results: Vec<bool> = (0..8)
        .map(|_| {
            let message = pair.client.seal(&mut packet, len, &mut sealed).unwrap().unwrap().to_vec();
            pair.gateway.open(SOURCE, &message, &mut opened).is_ok()
        })
        .collect();
    // The handshake's keepalive was message 0, so 1 to 4 pass.
    assert_eq!(results, [true, true, true, true, false, false, false, false]);
}

#[test]
fn a_counter_at_the_end_of_its_range_is_refused_before_boringtun() {
    let mut pair = pair();
    shake_hands(&mut pair);
    let mut forged = [0u8; 64];
    forged[0] = 4;
    forged[4..8].copy_from_slice(&(2u32 << 8 | 1).to_le_bytes());
    forged[8..16].fill(0xff);
    assert_eq!(pair.gateway.open(SOURCE, &forged, &mut [0; 2048]).unwrap_err(), Refused::Exhausted);
}

#[test]
fn short_buffers_are_refused_and_never_panic() {
    let mut pair = pair();
    shake_hands(&mut pair);
    let (mut packet, len) = inner(1000);
    assert!(pair.client.seal(&mut packet, len, &mut [0; 100]).is_err());
    let mut sealed = [0; 2048];
    let message = pair.client.seal(&mut packet, len, &mut sealed).unwrap().unwrap().to_vec();
    for size in [0, 1, 147, 148, message.len() - 1] {
        assert!(pair.gateway.open(SOURCE, &message, &mut vec![0; size]).is_err());
    }
    assert!(pair.client.initiate(&mut [0; 147], true, Instant::now(), &mut pair.rng).is_none());
    let long = vec![0; 100];
    assert!(pair.client.seal(&mut long.clone(), 101, &mut sealed).is_err());
}

#[test]
fn random_datagrams_never_panic_and_never_open() {
    let mut pair = pair();
    shake_hands(&mut pair);
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    let mut out = vec![0; 2048];
    for round in 0..100_000 {
        let length = [0, 4, 31, 32, 64, 92, 148, rng.usize(0..1600)][round % 8];
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        if let Some(first) = bytes.first_chunk_mut() {
            *first = [rng.u8(1..5), 0, 0, 0];
        }
        assert!(!matches!(
            pair.gateway.open(SOURCE, &bytes, &mut out),
            Ok(Opened::Packet(_) | Opened::Keepalive | Opened::Reply(_))
        ));
    }
}

#[test]
fn retransmission_phases_spread_over_the_jitter_of_the_paper() {
    let mut rng = fastrand::Rng::with_seed(3);
    let phases: Vec<Duration> = (0..1000).map(|_| jitter(&mut rng)).collect();
    assert!(phases.iter().all(|phase| *phase <= TICK));
    assert!(
        phases.iter().any(|phase| *phase < TICK / 10) && phases.iter().any(|phase| *phase > TICK * 9 / 10)
    );
}

#[test]
fn receiver_indices_tell_which_key_pair_of_a_tunnel_is_newer_also_beyond_their_eight_bits() {
    let mut pair = pair();
    let mut before = pair.gateway.newest_index();
    for _ in 0..300 {
        shake_hands(&mut pair);
        let now = pair.gateway.newest_index();
        assert!(is_newer(now, before) && !is_newer(before, now) && !is_newer(now, now));
        assert_eq!(index_of(now), 2);
        before = now;
    }
}
