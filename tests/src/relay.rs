//! A UDP relay that stands in for a bad internet path: delay, loss, black-out, a change of address.
//!
//! It plays the NAT box in front of one client: datagrams from the latest sender go to the gateway from the relay's own
//! socket, and back. Batches stay whole (GRO in, GSO out), so it carries several hundred Mbit/s on a fraction of a core.
//! Loss is drawn from a seeded generator; the seed is printed, so that a failure can be repeated.

mod port;
mod queue;

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use quinn_udp::RecvMeta;
use tokio::{
    sync::{Notify, oneshot},
    time,
};

use self::{
    port::Port,
    queue::{Queue, Train},
};

/// How bad the path is.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// Added in each direction: half of the round trip.
    pub delay: Duration,
    /// Probability that a datagram is lost, in each direction.
    pub loss: f64,
    /// Seed of the generator that draws losses.
    pub seed: u64,
}

/// Makes the socket towards the gateway; called again for every change of address.
pub type OpenUpstream = Box<dyn Fn() -> io::Result<UdpSocket> + Send + Sync>;

/// A running relay. Dropping it ends it.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    path: Path,
    gateway: SocketAddr,
    open_upstream: OpenUpstream,
    /// The latest sender on the inner side: where answers go.
    client: Mutex<Option<SocketAddr>>,
    upstream: RwLock<Arc<Port>>,
    upstream_changed: Notify,
    inner: Arc<Port>,
    blackout: AtomicBool,
    lost: AtomicU64,
    carried: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToGateway,
    ToClient,
}

impl Relay {
    /// Relays between whoever sends to `inner` and `gateway`.
    ///
    /// # Errors
    /// When a socket cannot be opened or has no offload state.
    pub fn start(
        inner: UdpSocket,
        gateway: SocketAddr,
        open_upstream: OpenUpstream,
        path: Path,
    ) -> Result<Self> {
        let address = inner.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let guard = runtime.enter();
        let shared = Arc::new(Shared {
            path,
            gateway,
            upstream: RwLock::new(Arc::new(Port::new(
                open_upstream().context("Failed to open the upstream socket")?,
            )?)),
            open_upstream,
            client: Mutex::default(),
            upstream_changed: Notify::new(),
            inner: Arc::new(Port::new(inner)?),
            blackout: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            carried: AtomicU64::new(0),
        });
        drop(guard);
        crate::say(&format!("relay to {gateway}: {path:?}"));
        let (stop, stopped) = oneshot::channel();
        let working = Arc::clone(&shared);
        let thread = thread::Builder::new().name("relay".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = carry(&working, Direction::ToGateway) => {}
                    () = carry(&working, Direction::ToClient) => {}
                }
            });
        })?;
        Ok(Self { address, shared, runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the client sends to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses everything from now on, or nothing more than the path's own loss.
    pub fn set_blackout(&self, on: bool) {
        self.shared.blackout.store(on, Ordering::Relaxed);
    }

    /// From now on the gateway sees the client come from another address or port.
    ///
    /// # Errors
    /// When the new socket cannot be opened.
    pub fn change_address(&self) -> Result<SocketAddr> {
        let socket = (self.shared.open_upstream)().context("Failed to open the upstream socket")?;
        let address = socket.local_addr()?;
        let _in_runtime = self.runtime.enter();
        let port = Arc::new(Port::new(socket)?);
        *self.shared.upstream.write().unwrap_or_else(PoisonError::into_inner) = port;
        self.shared.upstream_changed.notify_one();
        Ok(address)
    }

    /// Datagrams lost and carried so far, both directions together.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.lost.load(Ordering::Relaxed), self.shared.carried.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("address", &self.address)
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn upstream(&self) -> Arc<Port> {
        Arc::clone(&self.upstream.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn client(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One direction: receive, lose, wait, send.
async fn carry(shared: &Shared, direction: Direction) {
    let queue = Queue::default();
    tokio::join!(receive(shared, direction, &queue), send(shared, direction, &queue));
}

async fn receive(shared: &Shared, direction: Direction, queue: &Queue) {
    let mut random = fastrand::Rng::with_seed(shared.path.seed ^ direction as u64);
    let mut buffers = vec![vec![0; 65_535]; 8];
    let mut metas = [RecvMeta::default(); 8];
    loop {
        let received = match direction {
            Direction::ToGateway => shared.inner.receive(&mut buffers, &mut metas).await,
            Direction::ToClient => {
                let upstream = shared.upstream();
                tokio::select! {
                    received = upstream.receive(&mut buffers, &mut metas) => received,
                    () = shared.upstream_changed.notified() => continue,
                }
            }
        };
        // Errors here are ICMP messages for datagrams sent earlier: the path loses them silently.
        let Ok(received) = received else { continue };
        for (buffer, meta) in buffers.iter().zip(&metas).take(received) {
            if direction == Direction::ToGateway {
                *shared.client() = Some(meta.addr);
            }
            let Some(filled) = buffer.get(..meta.len) else { continue };
            let bytes = survivors(shared, filled, meta.stride, &mut random);
            queue.push(Train { due: Instant::now() + shared.path.delay, bytes, stride: meta.stride });
        }
    }
}

/// The datagrams of a train that the path does not lose.
fn survivors(shared: &Shared, filled: &[u8], stride: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let blackout = shared.blackout.load(Ordering::Relaxed);
    let mut kept = Vec::with_capacity(filled.len());
    for datagram in filled.chunks(stride.max(1)) {
        if blackout || (shared.path.loss > 0.0 && random.f64() < shared.path.loss) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.carried.fetch_add(1, Ordering::Relaxed);
            kept.extend_from_slice(datagram);
        }
    }
    kept
}

async fn send(shared: &Shared, direction: Direction, queue: &Queue) {
    loop {
        let train = queue.pop().await;
        time::sleep_until(train.due.into()).await;
        match direction {
            Direction::ToGateway => shared.upstream().send(&train, shared.gateway).await,
            Direction::ToClient => {
                let client = *shared.client();
                if let Some(client) = client {
                    shared.inner.send(&train, client).await;
                }
            }
        }
    }
}
