//! The control services: what a client may say to the gateway's own address.

#[path = "../../gateway/src/control"]
#[allow(dead_code, unreachable_pub, reason = "the gateway's, of which not all is used here")]
mod served {
    pub(super) mod dns;
    pub(super) mod dns_tcp;
    pub(super) mod zone;
}

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use hickory_proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use vmsgate_exchange::body::{NewKey, NewPresharedKey};

use crate::http;
use served::dns::{self, Transport};
use served::dns_tcp;
use served::zone::Zone;

/// More than any answer or input here has, so that nothing waits for its reader.
const PIPE_BYTES: usize = 1 << 20;
/// So often a server may run before its peer is at its end: nothing here waits for anything but the peer.
const TURNS: usize = 16;

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let names = [vec!["rec01".to_owned(), "rec01.vms.local".to_owned()], vec!["mgmt.vms.local".to_owned()]];
    let addresses =
        [vec![IpAddr::from([192, 168, 10, 21])], vec![IpAddr::from([0xfd00, 0x10, 0, 0, 0, 0, 0, 0x10])]];
    let servers = names.iter().zip(&addresses).map(|(names, addresses)| (&names[..], &addresses[..]));
    Zone::new(servers, Duration::from_secs(60))
});

thread_local! {
    static RUNTIME: Option<Runtime> = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
}

/// An answer parses, belongs to its question, and fits its transport.
pub(crate) fn dns_message(input: &[u8]) -> u64 {
    let mut answers = 0;
    for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
        let Some(answer) = dns::answer(input, &ZONE, transport) else { continue };
        assert!(answer.len() <= limit, "{} bytes over {transport:?}", answer.len());
        let parsed = Message::from_vec(&answer).unwrap_or_else(|error| panic!("the answer: {error}"));
        assert_eq!(parsed.message_type, MessageType::Response);
        assert_eq!(answer.get(..2), input.get(..2), "another question's");
        let known = [IpAddr::from([192, 168, 10, 21]), IpAddr::from([0xfd00, 0x10, 0, 0, 0, 0, 0, 0x10])];
        let told = parsed.answers.iter().filter_map(|record| record.data.ip_addr());
        assert!(told.into_iter().all(|address| known.contains(&address)), "an address of no server");
        answers += 1;
    }
    answers
}

/// However a stream is made up, the connection ends with its peer.
pub(crate) fn dns_stream(input: &[u8]) -> u64 {
    let answer = converse(input, |io| async { dns_tcp::serve_dns_tcp(io, &ZONE).await });
    u64::from(!answer.is_empty())
}

/// However a stream is made up, there is one answer at most, and the connection ends with its peer.
pub(crate) fn http_stream(input: &[u8]) -> u64 {
    let router = http::finish(
        Router::new()
            .route("/v1/profile", get(|| async { Json("profile") }))
            .route(
                "/v1/keys",
                post(|headers: HeaderMap, body: Body| async move {
                    http::json_body::<NewKey>(&headers, body).await.map(Json)
                }),
            )
            .route(
                "/v1/psk",
                post(|headers: HeaderMap, body: Body| async move {
                    http::json_body::<NewPresharedKey>(&headers, body).await.map(Json)
                }),
            ),
    );
    let answer = converse(input, |io| http::serve_connection(io, router));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answer));
    u64::from(answer.starts_with(b"HTTP/1.1 200 "))
}

/// Says `input` and nothing more to what serves the other end of a pipe, and answers what came back.
fn converse<F: Future<Output = ()>>(input: &[u8], serve: impl FnOnce(DuplexStream) -> F) -> Vec<u8> {
    let mut answer = Vec::new();
    RUNTIME.with(|runtime| {
        let Some(runtime) = runtime else { return };
        runtime.block_on(async {
            let (mut peer, io) = tokio::io::duplex(PIPE_BYTES);
            let peer = async {
                let _ = peer.write_all(input).await;
                // The end of the stream would cut an answer short that is being made.
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                let _ = peer.shutdown().await;
                let _ = peer.read_to_end(&mut answer).await;
            };
            tokio::join!(serve(io), peer);
        });
    });
    answer
}
