use super::*;

const LIMITS: HandshakeLimits = HandshakeLimits { per_source: 5, total: 100 };

#[test]
fn one_source_cannot_lock_another_out() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, 1, now);
    let (flood, victim) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let accepted = (0..90).filter(|_| guard.admit(flood, now) == Admission::Accept).count();
    assert_eq!(accepted, 5);
    assert_eq!(guard.admit(victim, now), Admission::Accept);
}

#[test]
fn a_forged_source_cannot_use_up_what_its_owner_can_prove() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, 1, now);
    let owner = "192.0.2.1".parse().unwrap();
    for _ in 0..1000 {
        guard.admit(owner, now);
    }
    assert!(guard.admit_proven(owner, now));
}

#[test]
fn a_source_recovers_within_a_second_and_its_ipv6_neighbours_share_its_bucket() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, 1, now);
    let host = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
    let accepted = (0..50).filter(|n| guard.admit(host(*n), now) == Admission::Accept).count();
    assert_eq!(accepted, 5);
    assert_eq!(guard.admit(host(0), now + Duration::from_secs(1)), Admission::Accept);
}

#[test]
fn under_load_every_source_must_prove_its_address() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, 1, now);
    for n in 0..100u32 {
        guard.admit(IpAddr::from(n.to_be_bytes()), now);
    }
    assert_eq!(guard.admit("192.0.2.1".parse().unwrap(), now), Admission::DemandCookie);
}

#[test]
fn memory_stays_bounded_under_a_flood_of_sources() {
    let now = Instant::now();
    let mut guard = Guard::new(LIMITS, 1, now);
    for n in 0..2 * MAX_SOURCES as u32 {
        guard.admit(IpAddr::from(n.to_be_bytes()), now);
    }
    assert!(guard.sources.len() <= MAX_SOURCES);
}
