//! DNS inside the tunnel: the host names of the servers that the caller's role may reach, nothing else.
//!
//! Nothing is forwarded and nothing is cached, so there is nothing to poison or to tunnel data through.
//! The gateway is authoritative for the whole tree: a name is in the role's [`Zone`] or it does not exist.
//! It therefore says "recursion available" too: stub resolvers that do not see it would look for a better
//! server although there is none.
//!
//! | asked | answer |
//! | --- | --- |
//! | A, AAAA, PTR or ANY of a known name | the records; none (NODATA) when it has none of that type |
//! | any other type of a known name | NODATA |
//! | an unknown name | NXDOMAIN |
//! | a zone transfer, a class other than IN | REFUSED |
//! | an operation other than QUERY | NOTIMP |
//! | EDNS above version 0 | BADVERS |
//! | an answer, or less than a header | silence |
//! | anything else that is no well-formed question | FORMERR |

use hickory_proto::{
    ProtoError,
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, PTR, SOA},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::zone::{Node, Zone};

/// What the gateway itself accepts and sends over UDP (DNS flag day 2020): no fragments below any MTU.
const MAX_UDP_BYTES: u16 = 1232;
/// An answer that every client can take (RFC 1035, section 4.2.1).
const MIN_UDP_BYTES: u16 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Answers one message, or stays silent where any answer could start a loop.
pub fn answer(query: &[u8], zone: &Zone, transport: Transport) -> Option<Vec<u8>> {
    let mut decoder = BinDecoder::new(query);
    let header = Header::read(&mut decoder).ok()?;
    if header.message_type == MessageType::Response {
        return None;
    }
    let (response, limit) = match read_question(&header, decoder) {
        Ok(request) => (respond(&header, &request, zone), request.udp_limit()),
        Err(code) => (response(&header, code), MIN_UDP_BYTES),
    };
    encode(&response, transport, limit).ok()
}

/// A request as far as it matters here.
struct Request {
    question: Query,
    edns: Option<Edns>,
}

impl Request {
    fn udp_limit(&self) -> u16 {
        self.edns
            .as_ref()
            .map_or(MIN_UDP_BYTES, |edns| edns.max_payload().clamp(MIN_UDP_BYTES, MAX_UDP_BYTES))
    }
}

/// Reads exactly one question and at most the two additional records (OPT, a signature) that a query may
/// carry, whatever the header's counts promise.
fn read_question(header: &Header, mut decoder: BinDecoder<'_>) -> Result<Request, ResponseCode> {
    if header.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    let counts = header.counts;
    if counts.queries != 1 || counts.answers != 0 || counts.authorities != 0 || counts.additionals > 2 {
        return Err(ResponseCode::FormErr);
    }
    let question = Query::read(&mut decoder).map_err(|_| ResponseCode::FormErr)?;
    let additionals = usize::from(counts.additionals);
    let (_, edns, _) = Message::read_records(&mut decoder, additionals, true, OpCode::Query)
        .map_err(|_| ResponseCode::FormErr)?;
    if decoder.is_empty() { Ok(Request { question, edns }) } else { Err(ResponseCode::FormErr) }
}

fn response(header: &Header, code: ResponseCode) -> Message {
    let mut response = Message::response(header.id, header.op_code);
    response.metadata = Metadata::response_from_request(&header.metadata);
    response.metadata.recursion_available = true;
    response.metadata.checking_disabled = false;
    response.metadata.response_code = code;
    response
}

fn respond(header: &Header, request: &Request, zone: &Zone) -> Message {
    let question = &request.question;
    let node = zone.get(question.name());
    let code = if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        ResponseCode::BADVERS
    } else if question.query_class() != DNSClass::IN
        || matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR)
    {
        ResponseCode::Refused
    } else if node.is_none() && !question.name().is_root() {
        ResponseCode::NXDomain
    } else {
        ResponseCode::NoError
    };

    let mut response = response(header, code);
    response.add_query(question.clone());
    if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        response.metadata.authoritative = true;
        response.answers = node.map(|node| records(node, question, zone.ttl_seconds())).unwrap_or_default();
        if response.answers.is_empty() {
            response.add_authority(denial(zone.ttl_seconds()));
        }
    }
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES).set_rcode_high(code.high());
        response.set_edns(edns);
    }
    response
}

fn records(node: &Node, question: &Query, ttl: u32) -> Vec<Record> {
    let wanted = |kind| question.query_type() == kind || question.query_type() == RecordType::ANY;
    let mut data: Vec<RData> = Vec::new();
    if wanted(RecordType::A) {
        data.extend(node.v4.iter().map(|address| RData::A(A(*address))));
    }
    if wanted(RecordType::AAAA) {
        data.extend(node.v6.iter().map(|address| RData::AAAA(AAAA(*address))));
    }
    if wanted(RecordType::PTR) {
        data.extend(node.pointers.iter().map(|name| RData::PTR(PTR(name.clone()))));
    }
    data.into_iter().map(|data| Record::from_rdata(question.name().clone(), ttl, data)).collect()
}

/// The record that lets resolvers remember a denial, for as long as they may remember an answer
/// (RFC 2308): without it some remember it for minutes, and a role that has just been widened stays
/// without its new names.
fn denial(ttl: u32) -> Record {
    let (refresh, retry, expire) = (3600, 600, 86_400); // for secondaries, of which there are none
    let soa = SOA::new(Name::root(), Name::root(), 1, refresh, retry, expire, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

fn encode(response: &Message, transport: Transport, udp_limit: u16) -> Result<Vec<u8>, ProtoError> {
    let bytes = response.to_vec()?;
    let limit = match transport {
        Transport::Udp => usize::from(udp_limit),
        Transport::Tcp => usize::from(u16::MAX),
    };
    if bytes.len() <= limit { Ok(bytes) } else { response.truncate().to_vec() }
}

#[cfg(test)]
mod tests {
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
}
