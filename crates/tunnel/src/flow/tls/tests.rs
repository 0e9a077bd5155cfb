use super::*;

/// The beginning of a real ClientHello.
const HELLO: [u8; 9] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc];
const CLIENT: u32 = u32::MAX - 2;
const SERVER: u32 = 900;

fn segment<'a>(flags: &str, sequence: u32, acknowledgement: u32, payload: &'a [u8]) -> Segment<'a> {
    let has = |c| flags.contains(c);
    let flags = TcpFlags { fin: has('F'), syn: has('S'), rst: has('R'), ack: has('A') };
    Segment { flags, sequence, acknowledgement, payload }
}

/// A watch over a connection whose handshake is done, and whose sequence numbers soon begin again at zero.
fn open() -> TlsWatch {
    let mut watch = TlsWatch::default();
    for (direction, segment) in [
        (Direction::Up, segment("S", CLIENT - 1, 0, &[])),
        (Direction::Down, segment("SA", SERVER - 1, CLIENT, &[])),
        (Direction::Up, segment("A", CLIENT, SERVER, &[])),
    ] {
        assert_eq!(watch.look(direction, &segment), Sight::Fitting);
    }
    assert_eq!(watch.first_bytes(), FirstBytes::Nothing);
    watch
}

impl TlsWatch {
    fn up(&mut self, offset: i32, payload: &[u8]) -> Sight {
        self.look(Direction::Up, &segment("A", CLIENT.wrapping_add_signed(offset), SERVER, payload))
    }

    fn down(&mut self, offset: i32, acknowledged: u32, payload: &[u8]) -> Sight {
        let acknowledgement = CLIENT.wrapping_add(acknowledged);
        self.look(
            Direction::Down,
            &segment("A", SERVER.wrapping_add_signed(offset), acknowledgement, payload),
        )
    }
}

#[test]
fn a_client_hello_is_tls_however_it_is_split_and_settled_once_it_is_acknowledged() {
    for split in 0..=HELLO.len() {
        let mut watch = open();
        assert_eq!(watch.up(0, &HELLO[..split]), Sight::Fitting, "{split}");
        assert_eq!(watch.up(split as i32, &HELLO[split..]), Sight::Fitting, "{split}");
        assert_eq!(watch.first_bytes(), FirstBytes::Tls);
        assert_eq!(watch.down(0, 5, &[]), Sight::Fitting);
        assert!(!watch.is_settled(), "the server may still get another sixth byte");
        assert_eq!(watch.down(0, 6, &[22, 3, 3]), Sight::Fitting);
        assert!(watch.is_settled());
    }
    let mut bytewise = open();
    for (at, byte) in HELLO.iter().enumerate() {
        assert_eq!(bytewise.up(at as i32, &[*byte]), Sight::Fitting);
    }
    assert_eq!(bytewise.first_bytes(), FirstBytes::Tls);
}

#[test]
fn each_of_the_six_bytes_can_make_it_clear_text_alone_or_with_the_others() {
    let wrong: [(usize, &[u8]); 5] =
        [(0, &[0, 21, 23, b'G']), (1, &[0, 2, 4]), (3, &[0x42, 0xff]), (4, &[]), (5, &[0, 2, 0x16])];
    for (place, bytes) in wrong {
        for byte in bytes {
            let mut hello = HELLO;
            hello[place] = *byte;
            assert_eq!(open().up(0, &hello), Sight::ClearText, "{place} {byte}");
            let mut watch = open();
            assert_eq!(watch.up(0, &hello[..place]), Sight::Fitting);
            assert_eq!(watch.up(place as i32, &hello[place..=place]), Sight::ClearText);
            assert_eq!(watch.first_bytes(), FirstBytes::Plain);
        }
    }
}

#[test]
fn a_record_is_one_byte_long_at_least_and_an_encrypted_one_at_most() {
    for (length, fits) in [(0_u16, false), (1, true), (0x4000, true), (0x4100, true), (0x4101, false)] {
        let [high, low] = length.to_be_bytes();
        let expected = if fits { Sight::Fitting } else { Sight::ClearText };
        assert_eq!(open().up(0, &[22, 3, 3, high, low, 1]), expected, "{length}");
    }
}

#[test]
fn the_requests_of_clear_text_protocols_are_clear_text() {
    for request in [&b"GET / HTTP/1.1\r\n"[..], b"OPTIONS rtsp://", b"\x80\x2e\x01\x03\x01", b"\0", b"{}"] {
        assert_eq!(open().up(0, request), Sight::ClearText, "{request:?}");
    }
}

#[test]
fn a_server_that_speaks_first_is_clear_text_even_between_the_pieces_of_a_client_hello() {
    assert_eq!(open().down(0, 0, b"220 mail ready\r\n"), Sight::ClearText);
    for seen in 1..=HELLO.len() {
        let mut watch = open();
        watch.up(0, &HELLO[..seen]);
        assert_eq!(watch.down(0, seen.min(5) as u32, b"220"), Sight::ClearText, "{seen}");
        assert_eq!(watch.first_bytes(), FirstBytes::Plain);
    }
}

#[test]
fn probes_of_both_ends_that_carry_an_old_byte_mean_nothing() {
    let mut watch = open();
    assert_eq!(watch.up(-1, &[0]), Sight::Fitting);
    assert_eq!(watch.down(-1, 0, &[0]), Sight::Fitting);
    assert_eq!(watch.first_bytes(), FirstBytes::Nothing);
    assert_eq!(watch.up(-3, &[7; 2]), Sight::Fitting);
    assert_eq!(watch.up(-1, &[0, 22]), Sight::Fitting);
    assert_eq!(watch.up(1, &HELLO[1..]), Sight::Fitting);
    assert_eq!(watch.first_bytes(), FirstBytes::Tls);
}

#[test]
fn a_resets_and_a_fins_lack_of_data_is_nothing() {
    let mut watch = open();
    assert_eq!(watch.look(Direction::Up, &segment("RA", CLIENT, SERVER, b"why")), Sight::Fitting);
    assert_eq!(watch.look(Direction::Down, &segment("RA", SERVER, CLIENT, b"why")), Sight::Fitting);
    assert_eq!(watch.look(Direction::Up, &segment("FA", CLIENT, SERVER, &[])), Sight::Fitting);
    assert_eq!(watch.first_bytes(), FirstBytes::Nothing);
}

#[test]
fn what_comes_before_its_predecessors_tells_nothing_and_changes_nothing() {
    let mut watch = open();
    for from in 1..HELLO.len() {
        assert_eq!(watch.up(from as i32, &HELLO[from..]), Sight::TooFarOn);
    }
    assert_eq!(watch.up(1_000_000, b"GET"), Sight::TooFarOn);
    assert_eq!(watch.first_bytes(), FirstBytes::Plain, "something was sent, and it is not known to be TLS");
    assert_eq!(watch.up(0, &HELLO), Sight::Fitting);
    assert_eq!(watch.up(1_000_000, b"any"), Sight::Fitting);
    assert_eq!(watch.first_bytes(), FirstBytes::Tls);
}

#[test]
fn other_bytes_in_the_same_places_are_clear_text_until_the_server_has_the_first_ones() {
    for seen in 1..=HELLO.len() {
        let mut watch = open();
        watch.up(0, &HELLO[..seen]);
        assert_eq!(watch.up(0, b"GET / HTTP/1.1"), Sight::ClearText, "{seen}");
    }
    let mut watch = open();
    watch.up(0, &HELLO);
    assert_eq!(watch.up(2, &[2]), Sight::ClearText, "another minor version than before");
}

#[test]
fn data_with_the_syn_is_judged_and_the_servers_word_on_where_it_begins_counts() {
    let mut early = TlsWatch::default();
    assert_eq!(early.look(Direction::Up, &segment("S", CLIENT - 1, 0, &HELLO)), Sight::Fitting);
    assert_eq!(early.look(Direction::Down, &segment("SA", 5, CLIENT.wrapping_add(9), &[])), Sight::Fitting);
    assert!(early.is_settled());
    let mut plain = TlsWatch::default();
    assert_eq!(plain.look(Direction::Up, &segment("S", 5, 0, b"GET")), Sight::ClearText);

    // Two attempts with different numbers: the server took the first.
    let mut watch = TlsWatch::default();
    watch.look(Direction::Up, &segment("S", CLIENT - 1, 0, &[]));
    watch.look(Direction::Up, &segment("S", 77, 0, &[]));
    watch.look(Direction::Down, &segment("SA", SERVER - 1, CLIENT, &[]));
    watch.look(Direction::Up, &segment("S", 77, 0, &[]));
    assert_eq!(watch.up(0, &HELLO), Sight::Fitting);
    assert_eq!(watch.first_bytes(), FirstBytes::Tls);
}

/// The claim that `require-tls` stands on, against a server that gets the segments that passed in any order, some of
/// them never: what it has in its first six places is the beginning of a ClientHello.
#[test]
fn no_sequence_of_segments_puts_clear_text_into_the_servers_first_places() {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..20_000 {
        let (mut watch, mut server) = (open(), [None; OPENING]);
        for _ in 0..rng.usize(1..12) {
            if watch.is_settled() {
                break;
            }
            let from = rng.usize(0..8);
            let mut payload = HELLO[from.min(OPENING)..rng.usize(from.min(OPENING)..=HELLO.len())].to_vec();
            if rng.u8(..4) == 0 && !payload.is_empty() {
                let at = rng.usize(0..payload.len());
                payload[at] = rng.u8(..);
            }
            if watch.up(from as i32, &payload) == Sight::Fitting && rng.bool() {
                for (place, byte) in (from..OPENING).zip(payload) {
                    server[place].get_or_insert(byte);
                }
                let received = server.iter().take_while(|byte| byte.is_some()).count();
                watch.down(0, received as u32, &[]);
            }
        }
        let received: Vec<u8> = server.into_iter().map_while(|byte| byte).collect();
        let mut judge = TlsWatch::default();
        for (place, byte) in received.iter().enumerate() {
            assert!(judge.fits(place, *byte), "seed {seed}, round {round}: the server has {received:?}");
            judge.opening[place] = *byte;
        }
    }
}
