//! Syslog receivers: over TCP that die and come back, over UDP, and none at all.

use std::collections::BTreeMap;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use vmsgate_audit::Chain;

use super::log::{Log, PATIENCE, gateway, ship, status};
use crate::ship::report::ShipState;

/// A message as a receiver reads it by the grammar of RFC 5424, section 6. Knows nothing of how ours are made.
#[derive(Debug)]
struct Message {
    priority: u8,
    time: String,
    header: Vec<String>,
    parameters: BTreeMap<String, String>,
    text: String,
}

fn parse(message: &str) -> Message {
    let rest = message.strip_prefix('<').unwrap();
    let (priority, rest) = rest.split_once('>').unwrap();
    let rest = rest.strip_prefix("1 ").unwrap();
    let mut fields = rest.splitn(6, ' ');
    let header: Vec<String> = fields.by_ref().take(5).map(str::to_owned).collect();
    assert!(header.iter().all(|field| field.bytes().all(|b| (33..=126).contains(&b)) && !field.is_empty()));
    let mut chars = fields.next().unwrap().chars();
    assert_eq!(chars.next(), Some('['));
    let id: String = chars.by_ref().take_while(|c| *c != ' ').collect();
    assert_eq!(id, "vmsgate@32473");
    let mut parameters = BTreeMap::new();
    loop {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(chars.next(), Some('"'));
        let mut value = String::new();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => value.push(chars.next().unwrap()),
                c => {
                    assert_ne!(c, ']', "not escaped");
                    value.push(c);
                }
            }
        }
        parameters.insert(name, value);
        match chars.next().unwrap() {
            ' ' => {}
            ']' => break,
            other => panic!("{other:?} in structured data"),
        }
    }
    assert_eq!(chars.next(), Some(' '));
    Message {
        priority: priority.parse().unwrap(),
        time: header[0].clone(),
        header,
        parameters,
        text: chars.collect(),
    }
}

impl Message {
    fn seq(&self) -> u64 {
        self.parameters["seq"].parse().unwrap()
    }
}

/// One connection of a syslog receiver that understands octet counting.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        Self(BufReader::new(stream))
    }

    async fn next(&mut self) -> Message {
        let read = async {
            let mut length = 0;
            loop {
                match self.0.read_u8().await.unwrap() {
                    b' ' => break,
                    digit => {
                        length = length * 10 + usize::from(char::from(digit).to_digit(10).unwrap() as u8)
                    }
                }
            }
            let mut message = vec![0; length];
            self.0.read_exact(&mut message).await.unwrap();
            parse(std::str::from_utf8(&message).unwrap())
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a message arrives")
    }

    /// Ends the connection as a receiver that is killed does.
    fn die(self) {
        SockRef::from(self.0.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("syslog+tcp://{}", listener.local_addr().unwrap());
    (listener, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_in_order_although_the_receiver_dies_in_the_middle() {
    let log = Log::new().await;
    let total = log.append(&gateway(), 3000).await;
    let admins = log.append(&Chain::admin(), 3).await;
    let (listener, to) = listen().await;
    let shipping = log.ship(&[ship("siem", &to)]);
    let mut arrived: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    for read in [700, 0, 1, usize::MAX] {
        let mut connection = Connection::accept(&listener).await;
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..read {
            let message = connection.next().await;
            let chain = message.parameters["chain"].clone();
            let seq = message.seq();
            if let Some(before) = last.insert(chain.clone(), seq) {
                assert_eq!(seq, before + 1, "in order");
            }
            let of_chain = arrived.entry(chain).or_default();
            assert!(seq <= of_chain.len() as u64 + 1, "nothing is left out");
            of_chain.insert(seq, message.text);
            if arrived.values().map(BTreeMap::len).sum::<usize>() as u64 == total + admins {
                break;
            }
        }
        if read == usize::MAX {
            log.cursor_at("siem", &gateway(), total).await;
            log.cursor_at("siem", &Chain::admin(), admins).await;
            status(&shipping, |status| status.behind == 0 && status.state == ShipState::Connected).await;
        }
        connection.die();
    }
    for chain in [gateway(), Chain::admin()] {
        let texts: Vec<String> = arrived[chain.as_str()].values().cloned().collect();
        assert_eq!(texts, log.texts(&chain).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_start_goes_on_where_the_last_one_was() {
    let log = Log::new().await;
    let first = log.append(&gateway(), 5).await;
    let (listener, to) = listen().await;
    let mut shipping = log.ship(&[ship("siem", &to)]);
    let mut connection = Connection::accept(&listener).await;
    for seq in 1..=first {
        assert_eq!(connection.next().await.seq(), seq);
    }
    log.cursor_at("siem", &gateway(), first).await;
    shipping.stop(PATIENCE).await;
    drop(shipping);

    log.append(&gateway(), 1).await;
    let mut shipping = log.ship(&[ship("siem", &to)]);
    let mut connection = Connection::accept(&listener).await;
    let message = connection.next().await;
    assert_eq!(message.seq(), first + 1);
    assert_eq!(message.priority, 13 * 8 + 5);
    assert_eq!(message.time, "2026-03-01T09:30:00.000Z");
    assert_eq!(message.header[1..], ["gw-1", "vmsgate", "-", "admin.client.add"]);

    log.append(&gateway(), 1).await;
    shipping.stop(PATIENCE).await;
    assert_eq!(connection.next().await.seq(), first + 2, "the last records are sent before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_delays_neither_the_log_nor_another_receiver() {
    let log = Log::new().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("syslog+tcp://{}", dead.local_addr().unwrap());
    drop(dead);
    let (listener, to) = listen().await;
    let mut shipping = log.ship(&[ship("dead", &nowhere), ship("siem", &to)]);
    let mut connection = Connection::accept(&listener).await;
    status(&shipping, |status| status.state == ShipState::Failing).await;
    for seq in 1..=3 {
        assert_eq!(log.append(&gateway(), 1).await, seq);
        assert_eq!(connection.next().await.seq(), seq);
    }
    let failing = status(&shipping, |status| status.state == ShipState::Failing).await;
    assert!(failing.last_error.unwrap().contains("cannot connect: Connection refused"));
    assert!(super::super::summary(&shipping.status()).starts_with("warning: "));
    shipping.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_wanted_kinds_are_sent_and_the_cursor_passes_the_others() {
    let log = Log::new().await;
    let head = log.append(&gateway(), 4).await;
    let (listener, to) = listen().await;
    let mut wants = ship("siem", &to);
    wants.kinds = vec!["session.*".to_owned()];
    let _shipping = log.ship(&[wants]);
    let _connection = Connection::accept(&listener).await;
    log.cursor_at("siem", &gateway(), head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_carry_a_message_each() {
    let log = Log::new().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = format!("syslog+udp://{}", receiver.local_addr().unwrap());
    let head = log.append(&gateway(), 50).await;
    let _shipping = log.ship(&[ship("siem", &to)]);
    let mut buffer = [0; 4096];
    let texts = log.texts(&gateway()).await;
    for (seq, text) in (1..=head).zip(texts) {
        let bytes = tokio::time::timeout(PATIENCE, receiver.recv(&mut buffer)).await.unwrap().unwrap();
        let message = parse(std::str::from_utf8(&buffer[..bytes]).unwrap());
        assert_eq!((message.seq(), message.text), (seq, text));
    }
    log.cursor_at("siem", &gateway(), head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on_is_no_receiver_of_datagrams() {
    let log = Log::new().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    drop(receiver);
    log.append(&gateway(), 2).await;
    let shipping = log.ship(&[ship("siem", &format!("syslog+udp://{address}"))]);
    status(&shipping, |status| status.state == ShipState::Failing).await;
    let receiver = UdpSocket::bind(address).await.unwrap();
    let mut buffer = [0; 4096];
    let bytes = tokio::time::timeout(PATIENCE, receiver.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(
        parse(std::str::from_utf8(&buffer[..bytes]).unwrap()).seq(),
        1,
        "nothing was taken for received"
    );
}
