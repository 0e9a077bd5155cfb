//! One of several ways to a gateway: carries datagrams between the client and the gateway, or loses them all.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, spawn_local};

use super::own_endpoint;

/// A line of its own address; dropping it ends it. Must be opened on a `LocalSet`.
pub struct Line {
    pub address: SocketAddr,
    is_cut: Rc<Cell<bool>>,
    carrying: JoinHandle<()>,
}

impl Line {
    pub async fn to(gateway: SocketAddr) -> Self {
        let address = own_endpoint();
        let inner = UdpSocket::bind(address).await.unwrap();
        let outer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let is_cut = Rc::new(Cell::new(false));
        let carrying = spawn_local(carry(inner, outer, gateway, is_cut.clone()));
        Self { address, is_cut, carrying }
    }

    pub fn cut(&self) {
        self.is_cut.set(true);
    }

    pub fn mend(&self) {
        self.is_cut.set(false);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(inner: UdpSocket, outer: UdpSocket, gateway: SocketAddr, is_cut: Rc<Cell<bool>>) {
    let (mut up, mut down) = (vec![0; 65_535], vec![0; 65_535]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((len, from)) = inner.recv_from(&mut up) => if !is_cut.get() {
                client = Some(from);
                let _ = outer.send_to(&up[..len], gateway).await;
            },
            Ok(len) = outer.recv(&mut down) => if !is_cut.get()
                && let Some(client) = client
            {
                let _ = inner.send_to(&down[..len], client).await;
            },
        }
    }
}
