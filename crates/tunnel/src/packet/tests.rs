use super::*;
use crate::reply;

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1500];
    let n =
        reply::udp("10.99.0.2:4000".parse().unwrap(), "192.168.10.10:53".parse().unwrap(), payload, &mut out)
            .unwrap();
    out.truncate(n);
    out
}

#[test]
fn a_well_formed_datagram_parses() {
    let bytes = udp(b"hello");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.payload(), b"hello");
    let tuple = packet.five_tuple().unwrap();
    assert_eq!((tuple.source.port(), tuple.destination.port()), (4000, 53));
}

#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    let bytes = udp(b"hello");
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // TTL and the like are covered by the header checksum, payload and ports by the UDP checksum.
        assert!(Packet::parse(&bytes).is_err(), "bit {bit} was accepted");
    }
}

#[test]
fn fragments_options_and_wrong_lengths_have_their_own_reasons() {
    let fix = |bytes: &mut Vec<u8>| {
        bytes[10..12].fill(0);
        let sum = !checksum::data(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    };
    let mut fragment = udp(b"hello");
    fragment[6] = 0x20;
    fix(&mut fragment);
    assert_eq!(Packet::parse(&fragment).unwrap_err(), Malformed::Fragment);
    let mut options = udp(b"hello");
    options[0] = 0x46;
    fix(&mut options);
    assert_eq!(Packet::parse(&options).unwrap_err(), Malformed::Options);
    let mut long = udp(b"hello");
    long.push(0);
    assert_eq!(Packet::parse(&long).unwrap_err(), Malformed::Length);
}

#[test]
fn random_bytes_never_panic() {
    let seed = 0x5eed;
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..200_000 {
        let mut bytes: Vec<u8> = (0..rng.usize(0..120)).map(|_| rng.u8(..)).collect();
        if let Some(first) = bytes.first_mut() {
            *first = if rng.bool() { 0x45 } else { 0x60 };
        }
        let _ = Packet::parse(&bytes);
    }
}
