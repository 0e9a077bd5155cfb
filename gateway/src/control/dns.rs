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
mod tests;
