//! Collectors that refuse, keep only some, close idle connections, and want a secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::log::{Log, PATIENCE, gateway, ship, status};
use crate::ship::report::ShipState;

struct Request {
    head: String,
    body: Value,
}

impl Request {
    fn seqs(&self) -> Vec<u64> {
        let records =
            self.body.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap().as_array().unwrap();
        let seq = |record: &Value| {
            let attributes = record["attributes"].as_array().unwrap();
            let seq = attributes.iter().find(|one| one["key"] == "vmsgate.seq").unwrap();
            seq["value"]["intValue"].as_str().unwrap().parse().unwrap()
        };
        records.iter().map(seq).collect()
    }

    fn texts(&self) -> Vec<String> {
        let records =
            self.body.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap().as_array().unwrap();
        records.iter().map(|one| one["body"]["stringValue"].as_str().unwrap().to_owned()).collect()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Request {
    let read = async {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0, "the request ends early: {head}");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        Request { head, body: serde_json::from_slice(&body).unwrap() }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a request arrives")
}

async fn answer(stream: &mut BufReader<TcpStream>, status: &str, body: &str) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    BufReader::new(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_is_sent_again_and_one_kept_in_part_is_not() {
    let log = Log::new().await;
    log.append(&gateway(), 2).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("otlp+http://{}", listener.local_addr().unwrap());
    let shipping = log.ship(&[ship("collector", &to)]);

    let mut stream = accept(&listener).await;
    let request = read(&mut stream).await;
    assert!(request.head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!((request.seqs(), request.texts()), (vec![1, 2], log.texts(&gateway()).await));
    log.append(&gateway(), 1).await;
    answer(&mut stream, "503 Service Unavailable", "overloaded\u{1b}[2J").await;
    let failing = status(&shipping, |status| status.state == ShipState::Failing).await;
    let error = failing.last_error.unwrap();
    assert!(error.starts_with("the receiver answered 503 Service Unavailable: overloaded"), "{error}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
    status(&shipping, |status| status.behind == 3).await;
    log.cursor_at("collector", &gateway(), 0).await;

    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await.seqs(), [1, 2, 3]);
    answer(&mut stream, "200 OK", "{}").await;
    log.cursor_at("collector", &gateway(), 3).await;

    log.append(&gateway(), 2).await;
    assert_eq!(read(&mut stream).await.seqs(), [4, 5]);
    let partial = json!({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old"}});
    answer(&mut stream, "200 OK", &partial.to_string()).await;
    log.cursor_at("collector", &gateway(), 5).await;
    let status = status(&shipping, |status| status.behind == 0).await;
    assert_eq!((status.rejected, status.state), (1, ShipState::Connected));
}

/// The first wait of our own lasts a second at most.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_asks_for_a_wait_is_left_alone_for_so_long() {
    let log = Log::new().await;
    log.append(&gateway(), 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("otlp+http://{}", listener.local_addr().unwrap());
    let _shipping = log.ship(&[ship("collector", &to)]);
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await.seqs(), [1]);
    let asked = Instant::now();
    answer(&mut stream, "429 Too Many Requests\r\nretry-after: 3", "").await;
    let mut stream = accept(&listener).await;
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(3), "it came again after {waited:?}");
    assert_eq!(read(&mut stream).await.seqs(), [1]);
    answer(&mut stream, "200 OK", "").await;
    log.cursor_at("collector", &gateway(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_collector_closed_while_idle_is_no_failure() {
    let log = Log::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("otlp+http://{}", listener.local_addr().unwrap());
    let shipping = log.ship(&[ship("collector", &to)]);
    drop(accept(&listener).await);
    log.append(&gateway(), 1).await;
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await.seqs(), [1]);
    answer(&mut stream, "200 OK", "").await;
    log.cursor_at("collector", &gateway(), 1).await;
    assert_eq!(shipping.status()[0].last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_of_the_file_are_sent_and_a_bad_file_is_said_without_its_contents() {
    let log = Log::new().await;
    log.append(&gateway(), 1).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Authorization s3cret\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut to = ship("collector", &format!("otlp+http://{}/team/logs", listener.local_addr().unwrap()));
    to.headers_file = Some(file.path().to_owned());
    let shipping = log.ship(&[to]);
    let failing = status(&shipping, |status| status.state == ShipState::Failing).await;
    let error = failing.last_error.unwrap();
    assert!(error.starts_with("line 1 of ") && !error.contains("s3cret"), "{error}");

    std::fs::write(file.path(), "Authorization: Bearer s3cret\n").unwrap();
    let mut stream = accept(&listener).await;
    let head = read(&mut stream).await.head.to_ascii_lowercase();
    assert!(head.starts_with("post /team/logs http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer s3cret\r\n"), "{head}");
}
