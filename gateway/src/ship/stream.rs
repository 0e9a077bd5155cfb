//! Syslog over TCP (RFC 6587, octet counting) and over TLS (RFC 5425).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use vmsgate_config::address::Endpoint;
use vmsgate_netio::unacknowledged;

use super::connect::Connection;
use super::error::ShipError;
use super::pending::Pending;
use super::record::Outgoing;
use super::syslog;

/// How long a receiver may leave a batch untaken.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    gateway: String,
    pending: Pending,
}

impl Stream {
    pub async fn open(endpoint: &Endpoint, encrypted: bool, gateway: &str) -> Result<Self, ShipError> {
        let connection = Connection::open(endpoint, encrypted).await?;
        Ok(Self { connection, gateway: gateway.to_owned(), pending: Pending::default() })
    }

    pub async fn send(&mut self, records: &[Outgoing]) -> Result<(), ShipError> {
        let frame = |record| syslog::frame(&syslog::message(record, &self.gateway));
        let bytes = records.iter().map(frame).collect::<String>();
        let write = async {
            self.connection.write_all(bytes.as_bytes()).await?;
            self.connection.flush().await
        };
        let written = tokio::time::timeout(WRITE_LIMIT, write).await;
        written.map_err(|_| ShipError::Stalled(WRITE_LIMIT))?.map_err(ShipError::Broken)?;
        self.pending.sent(bytes.len());
        Ok(())
    }

    /// How many batches more count as received.
    pub async fn received(&mut self) -> Result<usize, ShipError> {
        self.check_open().await?;
        let outstanding = unacknowledged(self.connection.tcp()).map_err(ShipError::Broken)?;
        let now = Instant::now();
        self.pending.acknowledge(outstanding, now);
        Ok(self.pending.received(now))
    }

    pub fn all_arrived(&self) -> bool {
        self.pending.all_acknowledged()
    }

    /// Ends when the receiver closes the connection. What it says until then is read and ignored: a syslog receiver
    /// has nothing to say.
    pub async fn closed(&mut self) -> ShipError {
        let mut said = [0; 512];
        loop {
            match self.connection.read(&mut said).await {
                Ok(0) => return ShipError::Closed,
                Ok(_) => {}
                Err(error) => return lost(error),
            }
        }
    }

    async fn check_open(&mut self) -> Result<(), ShipError> {
        poll_fn(|context| {
            let mut said = [0; 512];
            let mut buffer = ReadBuf::new(&mut said);
            match Pin::new(&mut self.connection).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(ShipError::Closed)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(lost(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await
    }
}

/// TLS calls it an unexpected end when a receiver is killed; for us it is the same as any other.
fn lost(error: io::Error) -> ShipError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ShipError::Closed,
        _ => ShipError::Broken(error),
    }
}
