use std::time::{Duration, Instant};

use super::*;

fn table(per_client: usize, total: usize) -> FlowTable {
    let limits = FlowLimits {
        tcp_established: Duration::from_secs(12 * 3600),
        tcp_transitory: Duration::from_secs(60),
        udp: Duration::from_secs(60),
        icmp: Duration::from_secs(10),
        per_client,
        total,
        new_per_second: 1000,
    };
    FlowTable::new(limits, 1)
}

fn tuple(protocol: Protocol, port: u16) -> FiveTuple {
    FiveTuple {
        protocol,
        source: SocketAddr::new("10.99.0.2".parse().unwrap(), port),
        destination: "192.168.10.10:443".parse().unwrap(),
    }
}

fn allowed() -> Allowed {
    Allowed {
        server: "mgmt".into(),
        service: "web".into(),
        rule: "r".into(),
        require_tls: None,
        control: false,
    }
}

fn segment(flags: &str, sequence: u32, acknowledgement: u32, payload_len: u32) -> Transport {
    let has = |c| flags.contains(c);
    Transport::Tcp {
        source_port: 1,
        destination_port: 2,
        flags: TcpFlags { fin: has('F'), syn: has('S'), rst: has('R'), ack: has('A') },
        sequence,
        acknowledgement,
        payload_len,
    }
}

fn establish(table: &mut FlowTable, id: FlowId, now: Instant) {
    for (direction, transport) in [
        (Direction::Up, segment("S", 100, 0, 0)),
        (Direction::Down, segment("SA", 500, 101, 0)),
        (Direction::Up, segment("A", 101, 501, 0)),
    ] {
        assert_eq!(table.follow(id, direction, transport, &[], Volume::packet(40), now), Progress::Continues);
    }
}

#[test]
fn a_connection_is_over_when_both_fins_are_acknowledged_and_not_before() {
    let (mut table, now) = (table(10, 10), Instant::now());
    let (id, _) = table.open(0, tuple(Protocol::Tcp, 1000), allowed(), now).unwrap();
    establish(&mut table, id, now);
    let steps = [
        (Direction::Up, segment("FA", 101, 501, 10)),
        // Acknowledges the data before the FIN, then the FIN.
        (Direction::Down, segment("A", 501, 111, 0)),
        (Direction::Down, segment("A", 501, 112, 0)),
        // Half closed: the server goes on.
        (Direction::Down, segment("A", 501, 112, 1000)),
        (Direction::Down, segment("FA", 1501, 112, 0)),
    ];
    for (direction, transport) in steps {
        assert_eq!(table.follow(id, direction, transport, &[], Volume::packet(40), now), Progress::Continues);
    }
    let last = table.follow(id, Direction::Up, segment("A", 112, 1502, 0), &[], Volume::packet(40), now);
    assert_eq!(last, Progress::Over(CloseReason::Finished));
}

#[test]
fn established_connections_may_idle_for_hours_and_half_open_ones_may_not() {
    let (mut table, now) = (table(10, 10), Instant::now());
    let (half_open, _) = table.open(0, tuple(Protocol::Tcp, 1), allowed(), now).unwrap();
    let (established, _) = table.open(0, tuple(Protocol::Tcp, 2), allowed(), now).unwrap();
    establish(&mut table, established, now);
    let later = now + Duration::from_secs(11 * 3600);
    assert_eq!(table.expire(later).map(|flow| flow.id), Some(half_open));
    assert!(table.expire(later).is_none());
    assert_eq!(table.expire(later + Duration::from_secs(3600)).map(|flow| flow.id), Some(established));
    assert!(table.is_empty() && table.next_expiry().is_none());
}

#[test]
fn a_full_table_gives_up_the_flow_that_was_idle_longest() {
    let (mut table, now) = (table(10, 2), Instant::now());
    let (first, _) = table.open(0, tuple(Protocol::Udp, 1), allowed(), now).unwrap();
    let (second, _) = table.open(1, tuple(Protocol::Udp, 1), allowed(), now).unwrap();
    let later = now + Duration::from_secs(40);
    let udp = Transport::Udp { source_port: 1, destination_port: 443 };
    table.follow(first, Direction::Up, udp, &[], Volume::packet(100), later);
    let (_, evicted) = table.open(2, tuple(Protocol::Udp, 1), allowed(), later).unwrap();
    assert_eq!(evicted.map(|flow| flow.id), Some(second));
}

#[test]
fn a_flow_in_recent_use_is_not_evicted_and_the_new_one_is_refused() {
    let (mut table, now) = (table(1, 10), Instant::now());
    table.open(0, tuple(Protocol::Udp, 1), allowed(), now).unwrap();
    assert_eq!(table.open(0, tuple(Protocol::Udp, 2), allowed(), now).unwrap_err(), Full::Client);
    assert!(table.open(1, tuple(Protocol::Udp, 2), allowed(), now).is_ok(), "another client is not affected");
}

#[test]
fn flow_ids_are_not_reused() {
    let (mut table, now) = (table(10, 10), Instant::now());
    let (old, _) = table.open(0, tuple(Protocol::Udp, 1), allowed(), now).unwrap();
    table.close(old).unwrap();
    let (new, _) = table.open(0, tuple(Protocol::Udp, 1), allowed(), now).unwrap();
    assert_ne!(old, new);
    assert!(table.get(old).is_none() && table.close(old).is_none());
}

#[test]
fn random_operations_keep_the_lists_and_the_table_in_step() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut table, mut now) = (table(8, 20), Instant::now());
        let mut live: Vec<FlowId> = Vec::new();
        for _ in 0..500 {
            now += Duration::from_secs(rng.u64(0..20));
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][rng.usize(0..3)];
            match rng.u8(0..4) {
                0 => {
                    let (client, tuple) = (rng.u32(0..5), tuple(protocol, rng.u16(1..50)));
                    if table.find(client, tuple).is_none()
                        && let Ok((id, evicted)) = table.open(client, tuple, allowed(), now)
                    {
                        live.retain(|id| evicted.as_ref().is_none_or(|flow| flow.id != *id));
                        live.push(id);
                    }
                }
                1 if !live.is_empty() => {
                    let id = live.swap_remove(rng.usize(0..live.len()));
                    assert!(table.close(id).is_some(), "seed {seed}");
                }
                2 if !live.is_empty() => {
                    let id = live[rng.usize(0..live.len())];
                    table.follow(id, Direction::Down, segment("A", 1, 1, 1), &[], Volume::packet(100), now);
                }
                _ => {
                    while let Some(flow) = table.expire(now) {
                        live.retain(|id| *id != flow.id);
                    }
                }
            }
            assert_eq!(table.len(), live.len(), "seed {seed}");
            assert_eq!((0..5).map(|client| table.of_client(client).count()).sum::<usize>(), live.len());
        }
    }
}
