//! A receiver that is being served, whatever it speaks.

use vmsgate_config::{Ship, Transport};

use super::collector::Collector;
use super::datagram::Datagrams;
use super::error::ShipError;
use super::record::Outgoing;
use super::stream::Stream;

#[derive(Debug)]
pub enum Receiver {
    Stream(Box<Stream>),
    Datagrams(Datagrams),
    Collector(Box<Collector>),
}

impl Receiver {
    pub async fn open(ship: &Ship, gateway: &str) -> Result<Self, ShipError> {
        let endpoint = &ship.to.endpoint;
        Ok(match ship.to.transport {
            Transport::SyslogTcp | Transport::SyslogTls => {
                let encrypted = ship.to.transport.is_encrypted();
                Self::Stream(Box::new(Stream::open(endpoint, encrypted, gateway).await?))
            }
            Transport::SyslogUdp => Self::Datagrams(Datagrams::open(endpoint, gateway).await?),
            Transport::OtlpHttp | Transport::OtlpHttps => {
                let headers = ship.headers_file.as_deref();
                Self::Collector(Box::new(Collector::open(&ship.to, headers, gateway).await?))
            }
        })
    }

    /// Sends a batch and returns how many of its records the receiver says it did not keep.
    pub async fn send(&mut self, records: &[Outgoing]) -> Result<u64, ShipError> {
        match self {
            Self::Stream(stream) => stream.send(records).await.map(|()| 0),
            Self::Datagrams(datagrams) => datagrams.send(records).await.map(|()| 0),
            Self::Collector(collector) => collector.send(records).await,
        }
    }

    /// How many batches, the oldest first, are received beyond those that earlier calls told.
    pub async fn received(&mut self) -> Result<usize, ShipError> {
        match self {
            Self::Stream(stream) => stream.received().await,
            Self::Datagrams(datagrams) => datagrams.received(),
            Self::Collector(collector) => Ok(collector.received()),
        }
    }

    /// Whether everything has at least left this host.
    pub fn all_arrived(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.all_arrived(),
            Self::Datagrams(_) | Self::Collector(_) => true,
        }
    }

    /// Whether a connection that was idle must be made anew, which is no failure.
    pub fn is_spent(&self) -> bool {
        matches!(self, Self::Collector(collector) if collector.is_closed())
    }

    /// Ends when the receiver is lost.
    pub async fn lost(&mut self) -> ShipError {
        match self {
            Self::Stream(stream) => stream.closed().await,
            Self::Datagrams(_) | Self::Collector(_) => std::future::pending().await,
        }
    }
}
