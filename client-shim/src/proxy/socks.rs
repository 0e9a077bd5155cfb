//! SOCKS5 with a program: who it is, where it wants to go, and the way there.

mod association;
mod message;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::access::Access;
use super::broker::{Broker, Reply};
use super::{HANDSHAKE, hand_over};
use message::{Command, MAX_BYTES, Malformed, PASSWORD_VERSION, Parsed, Request, write_address};

pub(super) use message::VERSION;

/// No method that both know (RFC 1928 section 3).
const NO_METHOD: u8 = 0xff;

/// Why a dialogue ended before there was a connection.
#[derive(Debug, Error)]
enum Ended {
    #[error("the program broke off")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the program offers no way to authenticate that is asked for")]
    NoMethod,
    #[error("wrong password")]
    WrongPassword,
    #[error("command {0} is not known")]
    Command(u8),
}

/// Serves one program from its first byte to its last.
pub(super) async fn serve(socket: TcpStream, broker: &Broker) {
    let mut program = Program { socket, came: Zeroizing::new(Vec::with_capacity(MAX_BYTES)) };
    let request = match tokio::time::timeout(HANDSHAKE, program.negotiate(broker.access())).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return tracing::debug!(%error, "no SOCKS connection"),
        Err(_) => return tracing::debug!("a program took too long to say what it wants"),
    };
    if request.command == Command::UdpAssociate {
        if let Err(error) = association::serve(program, &request.destination, broker).await {
            tracing::debug!(%error, "an association broke");
        }
        return;
    }
    match broker.dial(&request.destination).await {
        Ok(stream) => {
            if program.reply(Reply::Succeeded).await.is_ok() {
                hand_over(stream, &program.came, program.socket).await;
            }
        }
        Err(refusal) => {
            let _ = program.reply(refusal.reply()).await;
        }
    }
}

/// A program's connection during the dialogue.
struct Program {
    socket: TcpStream,
    /// What has come and was not understood yet. Never grows: a password would leave copies behind.
    came: Zeroizing<Vec<u8>>,
}

impl Program {
    /// Up to the request that can be served; everything else is answered here.
    async fn negotiate(&mut self, access: &Access) -> Result<Request, Ended> {
        let methods = self.next(message::methods).await?;
        match access.password() {
            None if methods.none => self.say(&[VERSION, 0]).await?,
            Some(_) if methods.password => {
                self.say(&[VERSION, 2]).await?;
                let given = self.next(message::credentials).await?;
                let admitted = access.admits(&given.username, &given.password);
                self.say(&[PASSWORD_VERSION, u8::from(!admitted)]).await?;
                if !admitted {
                    return Err(Ended::WrongPassword);
                }
            }
            _ => {
                self.say(&[VERSION, NO_METHOD]).await?;
                return Err(Ended::NoMethod);
            }
        }
        let request = match self.next(message::request).await {
            Err(Ended::Malformed(malformed)) => {
                let reply = match malformed {
                    Malformed::AddressType => Reply::AddressTypeUnknown,
                    Malformed::Name => Reply::HostUnreachable,
                    _ => Reply::Failure,
                };
                self.reply(reply).await?;
                return Err(malformed.into());
            }
            request => request?,
        };
        match request.command {
            Command::Connect | Command::UdpAssociate => Ok(request),
            Command::Other(command) => {
                self.reply(Reply::CommandUnknown).await?;
                Err(Ended::Command(command))
            }
        }
    }

    /// The next message.
    async fn next<T>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T>) -> Result<T, Ended> {
        loop {
            if let Some((message, length)) = parse(&self.came)? {
                self.came.drain(..length);
                return Ok(message);
            }
            // Never 0: a message that fills the room has been understood.
            let room = MAX_BYTES.saturating_sub(self.came.len());
            let read = (&mut self.socket).take(room as u64).read_buf(&mut *self.came).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Leaves out the address that is ours towards the server, which means nothing here.
    async fn reply(&mut self, reply: Reply) -> io::Result<()> {
        self.reply_with(reply, (Ipv4Addr::UNSPECIFIED, 0).into()).await
    }

    /// RFC 1928 section 6.
    async fn reply_with(&mut self, reply: Reply, bound: SocketAddr) -> io::Result<()> {
        let mut message = vec![VERSION, reply as u8, 0];
        write_address(&mut message, bound);
        self.say(&message).await
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }
}
