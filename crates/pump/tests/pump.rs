//! What one side does, the other side sees.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::io;
use std::time::Duration;

use support::{Path, Pump, pattern, run, sockets, tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use vmsgate_pump::PumpEnd;
use vmsgate_tunnel::netstack::Broken;

#[test]
fn megabytes_arrive_intact_both_ways_at_once_and_are_counted() {
    run(async {
        let Path { program, server, near, far } = Path::open().await;
        let (up, down) = (pattern(8 << 20, 1), pattern(8 << 20, 2));
        let (mut program_reads, mut program_writes) = program.into_split();
        let (mut server_reads, mut server_writes) = server.into_split();
        let send_up = async {
            program_writes.write_all(&up).await.unwrap();
            program_writes.shutdown().await.unwrap();
        };
        let send_down = async {
            server_writes.write_all(&down).await.unwrap();
            server_writes.shutdown().await.unwrap();
        };
        let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
        let (_, _, up_len, down_len) = tokio::join!(
            send_up,
            send_down,
            server_reads.read_to_end(&mut got_up),
            program_reads.read_to_end(&mut got_down),
        );
        up_len.unwrap();
        down_len.unwrap();
        assert!(got_up == up && got_down == down);
        assert_eq!(near.end.await.unwrap(), PumpEnd::Closed);
        assert_eq!(far.end.await.unwrap(), PumpEnd::Closed);
        let (up, down) = (up.len() as u64, down.len() as u64);
        assert_eq!((near.traffic.socket_to_stream(), near.traffic.stream_to_socket()), (up, down));
        assert_eq!((far.traffic.socket_to_stream(), far.traffic.stream_to_socket()), (down, up));
    });
}

#[test]
fn one_direction_may_close_while_the_other_goes_on() {
    run(async {
        for program_first in [true, false] {
            let Path { program, server, near, far } = Path::open().await;
            let (mut first, mut second) = if program_first { (program, server) } else { (server, program) };
            first.write_all(b"request").await.unwrap();
            first.shutdown().await.unwrap();
            let mut request = Vec::new();
            second.read_to_end(&mut request).await.unwrap();
            assert_eq!(request, b"request");

            second.write_all(b"answer after the end of the request").await.unwrap();
            second.shutdown().await.unwrap();
            let mut answer = Vec::new();
            first.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"answer after the end of the request");
            assert_eq!(near.end.await.unwrap(), PumpEnd::Closed);
            assert_eq!(far.end.await.unwrap(), PumpEnd::Closed);
        }
    });
}

#[test]
fn a_reset_is_carried_across_as_a_reset() {
    run(async {
        for program_resets in [true, false] {
            let Path { program, server, near, far } = Path::open().await;
            let (resetting, mut other) = if program_resets { (program, server) } else { (server, program) };
            resetting.set_zero_linger().unwrap();
            drop(resetting);
            let error = other.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

            let (origin, through) = if program_resets { (near, far) } else { (far, near) };
            assert_eq!(
                origin.end.await.unwrap(),
                PumpEnd::SocketFailed(io::ErrorKind::ConnectionReset),
                "the pump whose socket was reset"
            );
            assert_eq!(through.end.await.unwrap(), PumpEnd::StreamBroken(Broken::Reset));
        }
    });
}

#[test]
fn a_reset_after_a_half_close_is_carried_across() {
    run(async {
        let Path { mut program, mut server, .. } = Path::open().await;
        server.shutdown().await.unwrap();
        assert_eq!(program.read(&mut [0; 1]).await.unwrap(), 0);
        server.set_zero_linger().unwrap();
        drop(server);
        // Writing is the only thing left to do; it must fail before long.
        let failure = async {
            loop {
                if let Err(error) = program.write_all(b"still there?").await {
                    return error.kind();
                }
                tokio::task::yield_now().await;
            }
        };
        let kind = failure.await;
        assert!(matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{kind}");
    });
}

/// Fills the path until nobody takes more; answers how many bytes went in.
async fn fill(socket: &mut tokio::net::TcpStream) -> usize {
    let chunk = vec![7; 64 << 10];
    let mut written = 0;
    while let Ok(n) = timeout(Duration::from_millis(500), socket.write(&chunk)).await {
        written += n.unwrap();
    }
    written
}

#[test]
fn a_reader_that_stops_stops_the_writer_and_loses_nothing() {
    run(async {
        let Path { mut program, mut server, near, .. } = Path::open().await;
        let written = fill(&mut server).await;
        // Two stacks' buffers of 4 MiB each and four kernel buffers.
        assert!(written < 48 << 20, "{written} bytes vanished into buffers");

        server.shutdown().await.unwrap();
        let mut received = Vec::new();
        program.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), written);
        assert_eq!(near.traffic.stream_to_socket(), written as u64);
    });
}

#[test]
fn a_reset_is_noticed_even_while_nothing_more_can_be_taken_from_the_socket() {
    run(async {
        let Path { mut program, mut server, far, .. } = Path::open().await;
        fill(&mut server).await;
        server.set_zero_linger().unwrap();
        drop(server);
        assert_eq!(far.end.await.unwrap(), PumpEnd::SocketFailed(io::ErrorKind::ConnectionReset));
        let mut received = Vec::new();
        let error = program.read_to_end(&mut received).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn dropping_a_pump_resets_both_sides() {
    run(async {
        let Path { mut program, mut server, near, .. } = Path::open().await;
        program.write_all(b"x").await.unwrap();
        server.read_exact(&mut [0; 1]).await.unwrap();
        near.end.abort();
        for side in [&mut program, &mut server] {
            let error = side.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_stream_reads_and_writes_like_any_other() {
    run(async {
        let (mut near, far) = tunnel().await;
        let (mut server, socket) = sockets().await;
        let far = Pump::start(far, socket);
        near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut request = [0; 18];
        server.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"GET / HTTP/1.1\r\n\r\n");
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 204 No Content\r\n\r\n");
        drop(near);
        assert_eq!(far.end.await.unwrap(), PumpEnd::Closed);
    });
}

#[test]
fn an_aborted_stream_is_a_reset() {
    run(async {
        let (near, mut far) = tunnel().await;
        near.abort();
        let error = far.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}
