//! UDP ASSOCIATE (RFC 1928 section 7): a program's datagrams into the site, for as long as its connection lives.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;

use super::Program;
use super::message::{datagram, write_datagram};
use crate::proxy::broker::{Broker, Reply};
use crate::proxy::destination::Destination;
use crate::tunnel::UdpPort;

/// RFC 768: no datagram is longer.
const MAX_DATAGRAM: usize = 65_535;

/// Both ends of a program's datagrams.
struct Association {
    /// Where the program sends to, on the address of the proxy.
    here: UdpSocket,
    there: UdpPort,
    /// Who sends: known from the request, or with the first datagram. Nobody else may, and nobody else gets answers:
    /// any program on this machine could reach this port.
    program: Option<SocketAddr>,
}

/// Serves the association that the program has asked for; `from` is where it says that it will send from.
pub(super) async fn serve(mut program: Program, from: &Destination, broker: &Broker) -> io::Result<()> {
    let address = program.socket.local_addr()?.ip();
    let Ok(there) = broker.datagrams().open() else { return program.reply(Reply::Failure).await };
    let here = UdpSocket::bind((address, 0)).await?;
    let bound = here.local_addr()?;
    let mut association = Association { here, there, program: sender(from, address) };
    program.reply_with(Reply::Succeeded, bound).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            received = association.here.recv_from(&mut buffer) => {
                let (length, from) = received?;
                association.send(buffer.get(..length).unwrap_or_default(), from, broker);
            }
            Some(arrived) = association.there.receive() => {
                if let Some(program) = association.program {
                    let datagram = write_datagram(arrived.from, &arrived.payload);
                    // One that does not get through is lost, as on any other way.
                    let _ = association.here.send_to(&datagram, program).await;
                }
            }
            read = program.socket.read(&mut ignored) => {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Programs that do not know yet where they will send from say port 0.
fn sender(from: &Destination, address: IpAddr) -> Option<SocketAddr> {
    (from.port != 0).then(|| SocketAddr::new(address, from.port))
}

impl Association {
    fn send(&mut self, bytes: &[u8], from: SocketAddr, broker: &Broker) {
        if *self.program.get_or_insert(from) != from {
            return tracing::debug!(%from, "a datagram of another program");
        }
        let sent = datagram(bytes).map_err(|malformed| malformed.to_string()).and_then(|(to, payload)| {
            let target = broker.resolve(&to).map_err(|unresolved| unresolved.to_string())?;
            let remote = target.remotes.first().ok_or_else(String::new)?;
            self.there.send(*remote, payload).map_err(|error| error.to_string())
        });
        if let Err(reason) = sent {
            tracing::debug!(%reason, "a program's datagram is lost");
        }
    }
}
