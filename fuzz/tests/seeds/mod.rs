//! What the corpora begin with: one good input of every shape, so that mutations begin behind the first checks.

use vmsgate_exchange::Token;
use vmsgate_exchange::refusal::{Reason, Refusal};
use vmsgate_fuzz::wire::complete;
use vmsgate_keys::{Keystore, Passphrase};

type Seed = (&'static str, &'static str, Vec<u8>);

/// Target, file name and content.
pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = vec![
        ("config", "small", CONFIG.into()),
        ("profile", "alice", PROFILE.into()),
        ("record", "flow-closed", FLOW_CLOSED.into()),
        ("record", "admin", ADMIN.into()),
        ("record", "unknown-kind", UNKNOWN_KIND.into()),
        ("refusal", "revoked", Refusal::new(Reason::Revoked, Some("help@example.org")).to_bytes()),
        ("keystore", "sealed", KEYSTORE.into()),
        ("token", "invitation", token()),
        ("dns", "a", question(1, &[])),
        ("dns", "any-edns", question(255, b"\0\0\x29\x04\xd0\0\0\0\0\0\0")),
        ("dns", "compressed", b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec()),
        ("dns-tcp", "two", [framed(&question(1, &[])), framed(&question(12, &[]))].concat()),
        ("http", "get", b"GET /v1/profile HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n".to_vec()),
        ("http", "post", post(NEW_KEY)),
        ("http", "chunked", [CHUNKED_HEAD, b"13\r\n{\"schema_version\":1\r\n0\r\n\r\n"].concat()),
        ("socks", "methods", vec![5, 2, 0, 2]),
        ("socks", "credentials", b"\x01\x07vmsgate\x03abc".to_vec()),
        ("socks", "connect-name", b"\x05\x01\0\x03\x05rec01\x1d\x8b".to_vec()),
        (
            "socks",
            "connect-v6",
            [&[5, 1, 0, 4, 0xfd, 0, 0, 0x10][..], &[0; 11], &[0x21, 0x1d, 0x8b]].concat(),
        ),
        ("socks", "datagram", b"\0\0\0\x01\xc0\xa8\x0a\x15\0\xa1payload".to_vec()),
    ];
    seeds.extend(inner());
    seeds.extend(outside());
    seeds
}

/// A connection, a datagram, an echo and an error about it, up and down, of both families.
fn inner() -> Vec<Seed> {
    let syn = tcp(5000, 7563, 2, 100, 0, b"");
    let syn_ack = tcp(7563, 5000, 18, 500, 101, b"");
    let ack = tcp(5000, 7563, 24, 101, 501, b"GET / HTTP/1.1\r\n\r\n");
    let fin = tcp(5000, 7563, 17, 119, 501, b"");
    let connection = [step(7, &syn), step(15, &syn_ack), step(7, &ack), step(7, &fin)].concat();
    let hello = [&b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03"[..], &[7; 32]].concat();
    let tls = [
        step(7, &tcp(5001, 7564, 2, 100, 0, b"")),
        step(15, &tcp(7564, 5001, 18, 500, 101, b"")),
        step(7, &tcp(5001, 7564, 24, 101, 501, &hello)),
        step(7, &tcp(5001, 7564, 24, 101 + hello.len() as u32, 501, b"more")),
    ];
    let datagram = v4(17, &[&ports(6000, 7563)[..], &[0, 0, 0, 0], b"hello"].concat());
    let echo = v4(1, &[8, 0, 0, 0, 0x12, 0x34, 0, 1, b'e', b'c', b'h', b'o']);
    let mut quoted = datagram.clone();
    complete(&mut quoted);
    let error = v4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &quoted].concat());
    let v6 = v6(6, &segment(5002, 7563, 2, 100, 0, b""));
    let fragment = {
        let mut packet = datagram.clone();
        packet[6] = 0x20;
        packet
    };
    vec![
        ("inner", "connection", connection),
        ("inner", "tls", tls.concat()),
        ("inner", "datagrams", [step(7, &datagram), step(15, &datagram), step(31, &error)].concat()),
        ("inner", "echo", [step(7, &echo), step(7, &error)].concat()),
        ("inner", "v6", step(7, &v6)),
        ("inner", "spoofed", step(5, &datagram)),
        ("inner", "fragment", step(7, &fragment)),
        (
            "inner",
            "to-gateway",
            step(3, &v4(17, &[&ports(6001, 53)[..], &[0, 0, 0, 0], &question(1, &[])].concat())),
        ),
    ]
}

fn outside() -> Vec<Seed> {
    let mut data = vec![4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    data.extend([0x5a; 48]);
    vec![
        ("datagram", "random", step(0, b"not WireGuard at all")),
        ("datagram", "addressed", [step(1, &[0x11; 112]), step(1, &[0x22; 112])].concat()),
        ("datagram", "initiation", [step(2, &[40, 0, 1]), step(2, &[]), step(2, &[0, 0, 0, 1])].concat()),
        (
            "datagram",
            "session",
            [step(6, &[0; 20]), step(3, &[]), step(3, &[8, 0, 1]), step(4, &data)].concat(),
        ),
        (
            "datagram",
            "at-the-client",
            [step(6, &[]), step(5, &data), step(5, &[2; 92]), step(5, &[3; 64])].concat(),
        ),
    ]
}

fn step(what: u8, bytes: &[u8]) -> Vec<u8> {
    [&[what][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

fn ports(from: u16, to: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d]
}

fn segment(from: u16, to: u16, flags: u8, sequence: u32, acknowledgement: u32, payload: &[u8]) -> Vec<u8> {
    let numbers = [sequence.to_be_bytes(), acknowledgement.to_be_bytes()].concat();
    [&ports(from, to)[..], &numbers, &[0x50, flags, 0xfa, 0, 0, 0, 0, 0], payload].concat()
}

fn tcp(from: u16, to: u16, flags: u8, sequence: u32, acknowledgement: u32, payload: &[u8]) -> Vec<u8> {
    v4(6, &segment(from, to, flags, sequence, acknowledgement, payload))
}

/// To the gateway; the target puts in other addresses and checksums where a step says so.
fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let header = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 99, 0, 3, 10, 99, 0, 1];
    [&header[..], body].concat()
}

fn v6(protocol: u8, body: &[u8]) -> Vec<u8> {
    [&[0x60, 0, 0, 0, 0, 0, protocol, 64][..], &[0; 32], body].concat()
}

fn question(kind: u8, additional: &[u8]) -> Vec<u8> {
    let count = u8::from(!additional.is_empty());
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, count];
    [&header[..], b"\x05rec01\x03vms\x05local\0", &[0, kind, 0, 1], additional].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: 10.99.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    (head + body).into_bytes()
}

fn token() -> Vec<u8> {
    let endpoint = "vpn.example.org:51820".parse().unwrap();
    let key = [9; 32].into();
    let token = Token::new(key, endpoint, "alice".to_owned(), 1_800_000_000, [5; 32].into()).unwrap();
    token.to_text().as_bytes().to_vec()
}

#[test]
fn the_keystore_of_the_corpus_is_one() {
    let keystore = Keystore::parse(KEYSTORE).unwrap();
    assert!(keystore.open(&Passphrase::new(b"correct horse").unwrap()).is_ok());
}

const NEW_KEY: &str = r#"{"schema_version":1,"public_key":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=","encapsulation_key":"AAAA"}"#;
const CHUNKED_HEAD: &[u8] =
    b"POST /v1/psk HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const KEYSTORE: &str = include_str!("keystore");
const CONFIG: &str = r#"[gateway]
name = "gw-1"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16", "fd00:99::/64"]
egress = "proxy"

[[server]]
name = "rec01"
address = "192.168.10.21"
hostnames = ["rec01.vms.local"]
services = ["recording-server"]

[service.camera]
tcp = [554, "8000-8010"]

[role.viewer]
allow = ["rec*:recording-server", "rec01:camera"]
"#;
const PROFILE: &str = "[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=
Address = 10.99.0.2/32, fd00:99::2/128
DNS = 10.99.0.1, fd00:99::1, vms.local
MTU = 1420

[Peer]
PublicKey = hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
PresharedKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
AllowedIPs = 10.99.0.1/32, 192.168.10.0/24
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
";
const FLOW_CLOSED: &str = concat!(
    r#"{"chain":"gateway/gw-1","duration_ms":61250,"#,
    r#""flow":{"destination":{"address":"192.168.10.21","port":7563,"server":"rec01","service":"recording-server"},"#,
    r#""id":17,"lan_source":{"address":"192.168.10.5","port":40112},"protocol":"tcp","#,
    r#""source":{"address":"10.99.0.2","port":50312}},"#,
    r#""gateway":"gw-1","kind":"flow.closed","opened":"2026-03-01T09:30:00.000Z","reason":"finished","#,
    r#""schema_version":1,"seq":1,"#,
    r#""session":{"client":"laptop-1","id":"01955000-0000-7000-8000-000000000001","key":"0000000000000001","#,
    r#""operator":"Person 1","role":"smart-client","source":"203.0.113.9:51820","tunnel":["10.99.0.2","fd00:99::2"]},"#,
    r#""time":"2026-03-01T09:31:01.250Z","#,
    r#""traffic":{"from_client":{"bytes":17,"packets":1},"to_client":{"bytes":17000,"packets":17}}}"#,
);
const ADMIN: &str = concat!(
    r#"{"actor":"alice (uid 1000)","after":{"role":"smart-client"},"chain":"admin","kind":"admin.client.add","#,
    r#""object":"laptop-1","schema_version":1,"seq":1,"time":"2026-03-01T09:30:00.000Z"}"#,
);
const UNKNOWN_KIND: &str = r#"{"chain":"gateway/gw-1","kind":"some.thing","other":[1,{"a":null}],"schema_version":1,"seq":1,"time":"2026-03-01T09:30:00.000Z"}"#;
