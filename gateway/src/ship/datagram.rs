//! Syslog over UDP (RFC 5426): best effort.
//!
//! Nobody says whether a datagram arrived. A host that answers with an ICMP error is noticed; a full buffer anywhere is
//! not. Datagrams are therefore sent at a pace that a receiver can keep up with.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{UdpSocket, lookup_host};
use vmsgate_config::address::Endpoint;

use super::error::ShipError;
use super::pending::Pending;
use super::record::Outgoing;
use super::syslog;

/// 3200 datagrams a second: 6 MB/s at most.
const AT_ONCE: usize = 32;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    gateway: String,
    pending: Pending,
}

impl Datagrams {
    pub async fn open(endpoint: &Endpoint, gateway: &str) -> Result<Self, ShipError> {
        let socket = connect(endpoint).await.map_err(ShipError::Connect)?;
        Ok(Self { socket, gateway: gateway.to_owned(), pending: Pending::default() })
    }

    pub async fn send(&mut self, records: &[Outgoing]) -> Result<(), ShipError> {
        for some in records.chunks(AT_ONCE) {
            for record in some {
                let message = syslog::message(record, &self.gateway);
                self.socket.send(syslog::datagram(&message)).await.map_err(ShipError::Broken)?;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.pending.sent(0);
        Ok(())
    }

    /// How many batches more count as received.
    pub fn received(&mut self) -> Result<usize, ShipError> {
        if let Some(error) = self.socket.take_error().map_err(ShipError::Broken)? {
            return Err(ShipError::Broken(error));
        }
        let now = Instant::now();
        self.pending.acknowledge(0, now);
        Ok(self.pending.received(now))
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
