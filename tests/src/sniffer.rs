//! Writes down every packet that a namespace's interfaces see: the last word on what got through.

use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{netns::Netns, process::PATIENCE};

/// Every protocol, in network byte order as packet(7) wants it.
const ETH_P_ALL: i32 = 0x0003_u16.to_be() as i32;
const ETHERNET_HEADER: usize = 14;
const ICMPV6: u8 = 58;
/// Headers are all that is looked at, so this much of each frame is fetched.
const SNAP: usize = 256;

/// One IP packet seen on the wire. Neighbour discovery and ARP are not traffic and are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port of TCP and UDP, else 0.
    pub port: u16,
    /// Whether it is a TCP segment that opens a connection.
    pub opens: bool,
}

/// A running capture. Dropping it ends it.
#[derive(Debug)]
pub struct Sniffer {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Sends marks through the namespace's loopback; they pass the capture behind all that came before.
    marker: UdpSocket,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sniffer {
    /// Begins to write down what passes in `namespace`.
    ///
    /// # Errors
    /// When a packet socket cannot be made there.
    pub fn start(namespace: &Netns) -> Result<Self> {
        let mut socket =
            namespace.run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ETH_P_ALL))))??;
        let marker = namespace.run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))??;
        marker.connect(marker.local_addr()?)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.set_recv_buffer_size(16 << 20)?;
        let (seen, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let (seen_there, stop_there) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::Builder::new().name("sniffer".into()).spawn(move || {
            let mut frame = [0; SNAP];
            while !stop_there.load(Ordering::Relaxed) {
                match socket.read(&mut frame) {
                    Ok(length) => {
                        let packet = frame.get(ETHERNET_HEADER..length).and_then(parse);
                        seen_there.lock().unwrap_or_else(PoisonError::into_inner).extend(packet);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                    Err(_) => break,
                }
            }
        })?;
        Ok(Self { seen, marker, stop, thread: Some(thread) })
    }

    /// Everything that passed the interfaces up to now.
    ///
    /// # Errors
    /// When the capture no longer works.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        let deadline = Instant::now() + PATIENCE;
        let before = self.locked().iter().filter(|seen| is_mark(seen)).count();
        while self.locked().iter().filter(|seen| is_mark(seen)).count() == before {
            ensure!(Instant::now() < deadline, "the capture stands still");
            self.marker.send(b"mark")?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(self.locked().iter().filter(|seen| !is_mark(seen)).copied().collect())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing but marks uses the loopback of a watched namespace.
fn is_mark(seen: &Seen) -> bool {
    seen.destination.is_loopback()
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn parse(packet: &[u8]) -> Option<Seen> {
    let (protocol, source, destination, payload) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let address =
                |at| Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?)));
            (*packet.get(9)?, address(12)?, address(16)?, packet.get(header..)?)
        }
        6 => {
            let address =
                |at| Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?)));
            (*packet.get(6)?, address(8)?, address(24)?, packet.get(40..)?)
        }
        _ => return None,
    };
    // 130 to 143: multicast listener and neighbour discovery.
    if protocol == 0 || (protocol == ICMPV6 && matches!(payload.first()?, 130..=143)) {
        return None;
    }
    let has_ports = matches!(protocol, 6 | 17);
    let port =
        payload.get(2..4).filter(|_| has_ports).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    let opens = protocol == 6 && payload.get(13).is_some_and(|flags| flags & 0x12 == 0x02);
    Some(Seen { protocol, source, destination, port, opens })
}
