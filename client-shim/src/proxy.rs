//! SOCKS mode: one loopback port that programs use as their proxy.
//!
//! It speaks SOCKS5 (RFC 1928, 1929) and HTTP (RFC 9110: CONNECT, and `http://` addresses in full), told apart by the
//! first byte. Names are resolved by what the gateway told, so nothing of this machine has to be set up: no hosts
//! file, no second loopback address, no port below 1024. Whoever has the port has the user's access to the site; so it
//! is on a loopback address, and wants a password unless the user says otherwise.
//!
//! - `access`: who may come in;
//! - `destination`: hosts and ports as programs write them, made harmless (pure);
//! - `broker`: from there to a connection into the site, or the reason why there is none;
//! - `socks`: SOCKS5; its `message` is the parser (pure), its `association` carries datagrams;
//! - `http`: HTTP; its `forward` carries requests that are not CONNECT.

mod access;
mod broker;
mod destination;
mod http;
mod socks;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use vmsgate_pump::Stream;

pub use access::{Access, AccessError, Password, USERNAME};
pub(crate) use broker::Broker;

use crate::carrier;

/// Connections of programs at the same time: more than the tunnel has memory for, and a bound on file descriptors.
const MAX_CONNECTIONS: usize = 512;
/// How long a program may take to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after a failed accept: out of file descriptors, which lasts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no proxy.
#[derive(Debug, Error)]
#[error("cannot listen on {listen} for programs: {}", reason(error))]
pub struct BindError {
    listen: SocketAddr,
    error: io::Error,
}

impl BindError {
    pub fn hint(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                "end that program, or choose another port: --socks-listen 127.0.0.1:1081 (port 0 takes any free one)"
            }
            _ => "choose another address or port: --socks-listen 127.0.0.1:1080",
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses that port".to_owned(),
        io::ErrorKind::PermissionDenied => "this system reserves ports below 1024".to_owned(),
        _ => error.to_string(),
    }
}

/// The proxy's port, taken.
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    listen: SocketAddr,
    access: Rc<Access>,
}

impl Proxy {
    /// Takes the port; port 0 is any free one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system does not give it.
    pub fn bind(listen: SocketAddr, access: Access) -> Result<Self, BindError> {
        let bound = std::net::TcpListener::bind(listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            Ok((listener.local_addr()?, listener))
        });
        let (listen, listener) = bound.map_err(|error| BindError { listen, error })?;
        Ok(Self { listener, listen, access: Rc::new(access) })
    }

    /// Where programs find it.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Who may come in.
    pub fn access(&self) -> Rc<Access> {
        self.access.clone()
    }

    /// Serves programs for as long as it is polled. Their connections go on.
    pub(crate) async fn run(self, broker: Broker) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let broker = Rc::new(broker);
        loop {
            match self.listener.accept().await {
                Ok((socket, _)) => {
                    let Ok(place) = room.clone().try_acquire_owned() else {
                        tracing::warn!("a program's connection was refused: {MAX_CONNECTIONS} are open");
                        continue;
                    };
                    let broker = broker.clone();
                    spawn_local(async move {
                        let carrier = broker.carrier().clone();
                        carrier.attend(serve(socket, broker)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(socket: TcpStream, broker: Rc<Broker>) {
    let mut first = [0];
    match tokio::time::timeout(HANDSHAKE, socket.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    match first {
        [socks::VERSION] => socks::serve(socket, &broker).await,
        // Methods of HTTP are written in capitals.
        [b'A'..=b'Z'] => http::serve(socket, broker).await,
        [other] => tracing::debug!(first = other, "neither SOCKS5 nor HTTP"),
    }
}

/// Joins a program with its server; `early` is what the program has said already.
async fn hand_over(mut stream: Stream, early: &[u8], socket: TcpStream) {
    if early.is_empty() || stream.write_all(early).await.is_ok() {
        carrier::join(stream, socket).await;
    }
}
