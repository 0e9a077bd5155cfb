use std::{net::IpAddr, time::Duration};

use super::*;

fn zone() -> Zone {
    let mgmt = ["mgmt".to_owned(), "mgmt.vms.local".to_owned()];
    let rec = ["rec01".to_owned(), "rec01.vms.local".to_owned()];
    let mgmt_addresses = ["192.168.10.10".parse().unwrap(), "fd00:10::10".parse().unwrap()];
    let rec_addresses = ["192.168.10.21".parse().unwrap()];
    let servers: [(&[String], &[IpAddr]); 2] = [(&mgmt, &mgmt_addresses), (&rec, &rec_addresses)];
    Zone::new(servers, Duration::from_secs(60))
}

/// A zone whose one name has too many addresses for 512 bytes.
fn big_zone() -> Zone {
    let names = ["many".to_owned()];
    let addresses: Vec<IpAddr> = (0..80).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    Zone::new([(&names[..], &addresses[..])], Duration::from_secs(60))
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_message(message: &Message, zone: &Zone, transport: Transport) -> Message {
    Message::from_vec(&answer(&message.to_vec().unwrap(), zone, transport).unwrap()).unwrap()
}

fn ask(name: &str, kind: RecordType) -> (ResponseCode, Vec<String>) {
    let response = ask_message(&question(name, kind), &zone(), Transport::Udp);
    (response.response_code, response.answers.iter().map(|record| record.data.to_string()).collect())
}

#[test]
fn known_names_answer_in_every_form_and_case() {
    let v4 = (ResponseCode::NoError, vec!["192.168.10.10".to_owned()]);
    assert_eq!(ask("mgmt.", RecordType::A), v4);
    assert_eq!(ask("MGMT.vms.LOCAL.", RecordType::A), v4);
    assert_eq!(ask("mgmt.", RecordType::AAAA), (ResponseCode::NoError, vec!["fd00:10::10".to_owned()]));
    assert_eq!(ask("rec01.vms.local.", RecordType::A).1, ["192.168.10.21"]);
    assert_eq!(ask("mgmt.", RecordType::ANY).1, ["192.168.10.10", "fd00:10::10"]);
}

#[test]
fn addresses_point_back_to_the_longest_name() {
    assert_eq!(ask("10.10.168.192.in-addr.arpa.", RecordType::PTR).1, ["mgmt.vms.local."]);
    let v6 = Name::from("fd00:10::10".parse::<IpAddr>().unwrap()).to_ascii();
    assert_eq!(ask(&v6, RecordType::PTR).1, ["mgmt.vms.local."]);
    assert_eq!(ask("11.10.168.192.in-addr.arpa.", RecordType::PTR).0, ResponseCode::NXDomain);
}

#[test]
fn other_names_do_not_exist_and_other_types_are_empty() {
    for name in ["example.org.", "sql.vms.local.", "mgmt.vms.local.example.org.", "x.mgmt."] {
        assert_eq!(ask(name, RecordType::A), (ResponseCode::NXDomain, vec![]), "{name}");
    }
    for (name, kind) in [
        ("rec01.", RecordType::AAAA),
        ("rec01.", RecordType::MX),
        ("rec01.", RecordType::HTTPS),
        ("vms.local.", RecordType::A),
        ("168.192.in-addr.arpa.", RecordType::PTR),
        (".", RecordType::NS),
    ] {
        assert_eq!(ask(name, kind), (ResponseCode::NoError, vec![]), "{name} {kind}");
    }
}

#[test]
fn a_denial_may_be_remembered_no_longer_than_an_answer() {
    for name in ["example.org.", "vms.local."] {
        let response = ask_message(&question(name, RecordType::A), &zone(), Transport::Udp);
        assert!(response.authoritative && response.recursion_available && response.recursion_desired);
        let soa = response.authorities.first().unwrap();
        assert_eq!((soa.record_type(), soa.ttl), (RecordType::SOA, 60));
    }
}

#[test]
fn the_wire_format_is_stable() {
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05rEc01\x00\x00\x01\x00\x01";
    let expected = b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x05rEc01\x00\x00\x01\x00\x01\
        \xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\xa8\x0a\x15";
    assert_eq!(answer(query, &zone(), Transport::Udp).unwrap(), expected);
    let header_only = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    let form_error = b"\x12\x34\x81\x81\x00\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(answer(header_only, &zone(), Transport::Udp).unwrap(), form_error);
}

#[test]
fn what_is_not_a_plain_question_is_refused_by_its_code() {
    let code = |message: &Message| ask_message(message, &zone(), Transport::Tcp).response_code;
    let mut other_class = question("mgmt.", RecordType::A);
    other_class.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&other_class), ResponseCode::Refused);
    assert_eq!(code(&question("mgmt.", RecordType::AXFR)), ResponseCode::Refused);
    let mut update = question("mgmt.", RecordType::A);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update), ResponseCode::NotImp);
    let mut two = question("mgmt.", RecordType::A);
    two.add_query(Query::query(Name::root(), RecordType::A));
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut newer = question("mgmt.", RecordType::A);
    let mut edns = Edns::new();
    newer.set_edns(edns.set_version(1).clone());
    // BADVERS; TSIG's BADSIG shares the number
    assert_eq!(u16::from(code(&newer)), 16);

    let mut trailing = question("mgmt.", RecordType::A).to_vec().unwrap();
    trailing.push(0);
    let response = Message::from_vec(&answer(&trailing, &zone(), Transport::Udp).unwrap()).unwrap();
    assert_eq!(response.response_code, ResponseCode::FormErr);
}

#[test]
fn an_answer_is_never_answered() {
    let response = question("mgmt.", RecordType::A).into_response().to_vec().unwrap();
    assert_eq!(answer(&response, &zone(), Transport::Udp), None);
    assert_eq!(answer(&response[..11], &zone(), Transport::Udp), None);
    assert_eq!(answer(&[], &zone(), Transport::Udp), None);
}

#[test]
fn what_does_not_fit_is_marked_truncated_and_fits_over_tcp() {
    let mut query = question("many.", RecordType::A);
    let truncated = ask_message(&query, &big_zone(), Transport::Udp);
    assert!(truncated.truncation && truncated.answers.is_empty());
    let whole = ask_message(&query, &big_zone(), Transport::Tcp);
    assert!(!whole.truncation && whole.answers.len() == 80);

    let mut edns = Edns::new();
    query.set_edns(edns.set_max_payload(u16::MAX).clone());
    let bytes = answer(&query.to_vec().unwrap(), &big_zone(), Transport::Udp).unwrap();
    assert!(bytes.len() <= usize::from(MAX_UDP_BYTES));
    assert!(Message::from_vec(&bytes).unwrap().truncation);
    query.set_edns(edns.set_max_payload(0).clone());
    let bytes = answer(&query.to_vec().unwrap(), &zone(), Transport::Udp).unwrap();
    assert_eq!(Message::from_vec(&bytes).unwrap().edns.unwrap().max_payload(), MAX_UDP_BYTES);
}

#[test]
fn garbage_never_panics_and_never_earns_more_than_the_limit() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let zone = zone();
    let mut edns = Edns::new();
    let mut template = question("mgmt.vms.local.", RecordType::A);
    template.set_edns(edns.set_max_payload(4096).clone());
    let template = template.to_vec().unwrap();
    for _ in 0..200_000 {
        let mut bytes = template.clone();
        if random.u8(..) < 32 {
            bytes = (0..random.usize(..600)).map(|_| random.u8(..)).collect();
        }
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        bytes.truncate(random.usize(..=bytes.len() * 4).min(bytes.len()));
        if let Some(answer) = answer(&bytes, &zone, Transport::Udp) {
            assert!(answer.len() <= usize::from(MAX_UDP_BYTES));
            let answer = Message::from_vec(&answer).expect("an answer is well formed");
            assert_eq!(answer.message_type, MessageType::Response);
        }
    }
}
