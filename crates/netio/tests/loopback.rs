//! Batches over loopback, IPv4 and IPv6.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use vmsgate_netio::{RecvBatch, SendQueue, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(10);

fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap()).unwrap()
}

/// Queues `count` datagrams of `len` bytes, each filled with its number.
fn queue(to: SocketAddr, count: u8, len: usize) -> SendQueue {
    let mut queue = SendQueue::new();
    for n in 0..count {
        queue.reserve(to, 2000)[..len].fill(n);
        queue.commit(len);
    }
    queue
}

async fn receive(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut batch = RecvBatch::new();
    let mut received = Vec::new();
    while received.len() < count {
        timeout(PATIENCE, socket.recv_batch(&mut batch)).await.expect("datagrams arrive").unwrap();
        received.extend(batch.datagrams().map(|d| (d.from, d.bytes.to_vec())));
    }
    received
}

#[tokio::test]
async fn a_batch_arrives_whole_and_in_order_over_both_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (a, b) = (bind(address), bind(address));
        let mut queue = queue(b.local_addr().unwrap(), 100, 1452);
        queue.flush(&a).await.unwrap();
        let stats = queue.stats();
        assert_eq!((stats.sent, queue.is_empty()), (100, true));

        let received = receive(&b, 100).await;
        for (n, (from, bytes)) in received.iter().enumerate() {
            assert_eq!(*from, a.local_addr().unwrap());
            assert_eq!((bytes.len(), bytes[0], bytes[1451]), (1452, n as u8, n as u8));
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_train_costs_one_system_call() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let mut queue = queue(b.local_addr().unwrap(), 40, 1452);
    queue.flush(&a).await.unwrap();
    assert_eq!(queue.stats().calls, 1);
    assert_eq!(receive(&b, 40).await.len(), 40);
}

#[tokio::test]
async fn a_dual_stack_socket_shows_ipv4_peers_as_ipv4_and_answers_them() {
    let server = bind("[::]:0");
    let port = server.local_addr().unwrap().port();
    for client in [bind("127.0.0.1:0"), bind("[::1]:0")] {
        let local = client.local_addr().unwrap();
        queue(SocketAddr::new(local.ip(), port), 1, 100).flush(&client).await.unwrap();
        let (from, _) = receive(&server, 1).await.remove(0);
        assert_eq!(from, local);

        queue(from, 3, 200).flush(&server).await.unwrap();
        assert_eq!(receive(&client, 3).await.len(), 3);
    }
}

/// All of 127.0.0.0/8 is local, so one machine can play a host with several addresses.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let (server, client) = (bind(wildcard), bind("127.0.0.1:0"));
        let asked = SocketAddr::new([127, 0, 0, 9].into(), server.local_addr().unwrap().port());
        queue(asked, 1, 100).flush(&client).await.unwrap();
        let (from, _) = receive(&server, 1).await.remove(0);
        queue(from, 1, 100).flush(&server).await.unwrap();
        assert_eq!(receive(&client, 1).await[0].0, asked);
    }
}

#[tokio::test]
async fn undeliverable_datagrams_do_not_stop_the_socket() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    // A port nobody listens on, whose refusal comes back as an error; a network that cannot be reached from
    // loopback; a datagram that is too big.
    let closed = bind("127.0.0.1:0").local_addr().unwrap();
    let mut sending = queue(closed, 3, 100);
    sending.reserve("192.0.2.1:9".parse().unwrap(), 10).fill(0);
    sending.commit(10);
    sending.reserve(b.local_addr().unwrap(), 65_535).fill(0);
    sending.commit(65_535);
    sending.flush(&a).await.unwrap();
    assert!(sending.stats().dropped_error >= 1);
    assert_eq!(sending.stats().dropped_too_big, 1);

    queue(b.local_addr().unwrap(), 5, 100).flush(&a).await.unwrap();
    assert_eq!(receive(&b, 5).await.len(), 5);
    queue(a.local_addr().unwrap(), 5, 100).flush(&b).await.unwrap();
    assert_eq!(receive(&a, 5).await.len(), 5);
}
