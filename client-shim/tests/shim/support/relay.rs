//! A bad path between the shim and its gateway: a relay of datagrams that loses, delays and refuses large ones.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

/// How bad the path is, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    pub delay: Duration,
    /// Every so many datagrams one is lost.
    pub lose_one_in: usize,
    /// Larger ones are lost, as on a path with a smaller MTU that tells nobody.
    pub largest: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self { delay: Duration::ZERO, lose_one_in: usize::MAX, largest: usize::MAX }
    }
}

/// A running relay; dropping it ends it.
pub struct Relay {
    pub address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Relay {
    pub fn start(gateway: SocketAddr, path: Path) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let (inner, outer) = (bind().await, bind().await);
                tell.send(inner.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = carry(inner, outer, gateway, path) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().unwrap(), _stop: stop }
    }
}

async fn bind() -> Rc<UdpSocket> {
    Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

/// Between whoever sends to `inner` and the gateway.
async fn carry(inner: Rc<UdpSocket>, outer: Rc<UdpSocket>, gateway: SocketAddr, path: Path) {
    let mut client = gateway;
    let (mut up, mut down) = (vec![0; 65_535], vec![0; 65_535]);
    for count in 1_usize.. {
        // An error is about a datagram from before.
        let (bytes, out, to) = tokio::select! {
            Ok((len, from)) = inner.recv_from(&mut up) => {
                client = from;
                (up[..len].to_vec(), outer.clone(), gateway)
            }
            Ok((len, _)) = outer.recv_from(&mut down) => (down[..len].to_vec(), inner.clone(), client),
            else => continue,
        };
        if count.is_multiple_of(path.lose_one_in) || bytes.len() > path.largest {
            continue;
        }
        spawn_local(async move {
            tokio::time::sleep(path.delay).await;
            let _ = out.send_to(&bytes, to).await;
        });
    }
}
