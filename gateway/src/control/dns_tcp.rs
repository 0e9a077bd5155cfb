//! DNS over TCP: messages with a two-byte length before each (RFC 7766), one after the other on a
//! connection, until the client closes it or stays away for too long.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    dns::{self, Transport},
    zone::Zone,
};

/// How long one exchange may take, from waiting for a question to having sent its answer.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(10);
/// Longer than any question with its EDNS options.
const MAX_QUERY_BYTES: usize = 1024;

/// Serves one connection. What goes wrong on it concerns its client alone, so nothing is returned.
pub async fn serve_dns_tcp<S>(mut io: S, zone: &Zone)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::with_capacity(MAX_QUERY_BYTES);
    loop {
        match timeout(EXCHANGE_LIMIT, exchange(&mut io, &mut buffer, zone)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "DNS connection ends");
                break;
            }
            Err(_) => {
                tracing::debug!("DNS connection cut: idle or too slow");
                break;
            }
        }
    }
    // The peer may be gone already.
    let _ = timeout(EXCHANGE_LIMIT, io.shutdown()).await;
}

async fn exchange<S>(io: &mut S, buffer: &mut Vec<u8>, zone: &Zone) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = usize::from(io.read_u16().await?);
    if length > MAX_QUERY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "question too long"));
    }
    buffer.resize(length, 0);
    io.read_exact(buffer).await?;
    let answer = dns::answer(buffer, zone, Transport::Tcp)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a question"))?;
    let length = u16::try_from(answer.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "answer too long"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(answer);
    io.write_all(&framed).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::{
        op::{Message, MessageType, OpCode, Query},
        rr::{Name, RecordType},
    };
    use tokio::io::DuplexStream;

    use super::*;

    fn connect(pipe_bytes: usize) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (peer, io) = tokio::io::duplex(pipe_bytes);
        let served = tokio::spawn(async move {
            let names = ["rec01".to_owned()];
            let addresses = [IpAddr::from([10, 0, 0, 1])];
            let zone = Zone::new([(&names[..], &addresses[..])], Duration::from_secs(60));
            serve_dns_tcp(io, &zone).await;
        });
        (peer, served)
    }

    fn framed_question() -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii("rec01.").unwrap(), RecordType::A));
        let bytes = message.to_vec().unwrap();
        let mut framed = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(bytes);
        framed
    }

    #[tokio::test]
    async fn questions_on_one_connection_are_answered_in_order() {
        let (mut peer, served) = connect(4096);
        let question = framed_question();
        peer.write_all(&[question.clone(), question].concat()).await.unwrap();
        for _ in 0..2 {
            let length = peer.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            peer.read_exact(&mut bytes).await.unwrap();
            assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 1);
        }
        drop(peer);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_length_beyond_any_question_ends_the_connection() {
        for hostile in [&b"\xff\xff"[..], b"\x00\x00", b"\x00\x05hello"] {
            let (mut peer, served) = connect(4096);
            peer.write_all(hostile).await.unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"");
            served.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_or_never_reads_is_cut() {
        let (mut peer, served) = connect(4096);
        let trickle = async {
            for byte in framed_question() {
                if peer.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (served, ()) = tokio::join!(timeout(2 * EXCHANGE_LIMIT, served), trickle);
        served.expect("the connection is cut").unwrap();

        let (mut peer, served) = connect(64);
        let flood = async { while peer.write_all(&framed_question()).await.is_ok() {} };
        let (served, ()) = tokio::join!(timeout(3 * EXCHANGE_LIMIT, served), flood);
        served.expect("the connection is cut").unwrap();
    }
}
