//! The packet loop: threads that each own their clients, their sockets and their state, and share nothing.
//!
//! A worker's thread runs a tokio runtime of its own. Everything in it shares one [`Core`] through `Rc<RefCell>`, never
//! across an `await`: receivers hand it batches, the turner its timers, flows their results. The supervisor only sends
//! [`Command`]s, by way of [`Workers`]; workers hand each other what landed in the wrong place ([`handover`]).

mod arrivals;
mod asks;
mod core;
mod evidence;
mod handover;
mod outlets;
mod pool;
mod steering;
mod tally;
mod tasks;
mod transmit;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;
use vmsgate_audit::{Hash, Label};
use vmsgate_netio::{BindError, BoundSocket, TunQueueFd, UdpSocket};
use vmsgate_tunnel::denials::RefusalTotals;
use vmsgate_tunnel::event::{Interrupted, UnixMillis};
use vmsgate_tunnel::gateway::Settings;
use vmsgate_tunnel::gateway::shard::Directory;
use vmsgate_tunnel::netstack::StackConfig;
use vmsgate_tunnel::peer::{ClientConfig, SessionStatus};
use vmsgate_tunnel::policy::Policy;
use x25519_dalek::StaticSecret;

pub use self::asks::{Call, take_asks};
pub use self::core::Core;
pub use self::evidence::Recording;
use self::handover::{Couriers, Parcel};
pub use self::pool::{Workers, WorkersSetup};
pub use self::steering::program as steering;
pub use self::tally::{Load, Tally};
use crate::admin::changes::Foreseen;
use crate::control::ControlState;
use crate::forward::proxy::ProxySettings;
use crate::forward::tun::Lan;
use crate::health::Health;

/// The state that everything on the worker's thread works on.
pub type SharedCore = Rc<RefCell<Core>>;

/// What a worker is made of.
struct WorkerSetup {
    sockets: Vec<BoundSocket>,
    /// Egress `tun`, and whether it masquerades.
    queue: Option<TunQueueFd>,
    masquerade: bool,
    parcels: mpsc::Receiver<Parcel>,
    core: CoreSetup,
}

pub struct CoreSetup {
    worker: u8,
    workers: u8,
    couriers: Couriers,
    stack: StackConfig,
    configuration: Configuration,
    identities: Vec<StaticSecret>,
    health: Health,
    calls: mpsc::Sender<Call>,
}

/// What a new configuration changes while the worker runs.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub settings: Settings,
    pub proxy: ProxySettings,
    pub control: Arc<ControlState>,
    /// SHA-256 of the file.
    pub hash: Hash,
}

/// A request to a worker, from the supervisor.
pub enum Command {
    /// Evidence begins: until it comes, no datagram is read.
    Start(Recording),
    /// Clients that are new or changed. Answers when nothing passes any more that they forbid, with the sessions that
    /// they ended.
    Clients {
        clients: Vec<ClientConfig>,
        done: oneshot::Sender<Vec<Ended>>,
    },
    /// Every identity that is to answer, and the control services that name them.
    Identities {
        secrets: Vec<StaticSecret>,
        control: Arc<ControlState>,
        done: oneshot::Sender<()>,
    },
    Directory(Arc<Directory>),
    /// Answers with whom there is and what was cut.
    Configuration {
        configuration: Box<Configuration>,
        done: oneshot::Sender<Foreseen>,
    },
    /// Asks whom there is, and what this policy would cut.
    Foresee(Arc<Policy>, oneshot::Sender<Foreseen>),
    /// Sessions that ended with the last run.
    Reconnect(Vec<Interrupted>),
    Report(oneshot::Sender<Report>),
    /// Ends every session; answers when all of it has been handed to the audit log and the sockets.
    Stop(oneshot::Sender<()>),
}

/// A session that is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub client: Uuid,
    /// When the last packet passed to or from the recording network.
    pub last_forwarded: Option<UnixMillis>,
    pub flows_cut: u64,
}

/// What a worker says about itself; added up, what all of them do.
#[derive(Debug)]
pub struct Report {
    pub policy: Arc<str>,
    pub clients: usize,
    pub flows: usize,
    pub counters: vmsgate_tunnel::counters::Counters,
    pub refusals: RefusalTotals,
    pub tally: Tally,
    /// Of each worker, in their order.
    pub loads: Vec<Load>,
    pub sessions: Vec<SessionStatus>,
    pub at: Instant,
}

/// A running worker.
#[derive(Debug)]
struct Worker {
    commands: mpsc::Sender<Command>,
}

/// Why a worker did not start, or is not there any more.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot start a worker's thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot use the TUN interface")]
    Queue(#[source] std::io::Error),
    #[error("the packet loop has ended unexpectedly")]
    Gone,
}

impl Worker {
    /// Starts the thread. Nothing is received before [`Command::Start`].
    async fn spawn(setup: WorkerSetup) -> Result<Worker, WorkerError> {
        let (commands, requests) = mpsc::channel(64);
        let (ready, started) = oneshot::channel();
        let name = format!("worker-{}", setup.core.worker);
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                // Whoever waits for the start may be gone; then nobody needs the error.
                Err(error) => return drop(ready.send(Err(WorkerError::Thread(error)))),
            };
            LocalSet::new().block_on(&runtime, run(setup, requests, ready));
        };
        std::thread::Builder::new().name(name).spawn(body).map_err(WorkerError::Thread)?;
        started.await.map_err(|_| WorkerError::Gone)??;
        Ok(Worker { commands })
    }

    async fn send(&self, command: Command) -> Result<(), WorkerError> {
        self.commands.send(command).await.map_err(|_| WorkerError::Gone)
    }

    async fn report(&self) -> Result<Report, WorkerError> {
        let (reply, report) = oneshot::channel();
        self.send(Command::Report(reply)).await?;
        report.await.map_err(|_| WorkerError::Gone)
    }

    async fn stop(&self) -> Result<(), WorkerError> {
        let (reply, stopped) = oneshot::channel();
        self.send(Command::Stop(reply)).await?;
        stopped.await.map_err(|_| WorkerError::Gone)
    }
}

async fn run(
    setup: WorkerSetup,
    mut requests: mpsc::Receiver<Command>,
    ready: oneshot::Sender<Result<(), WorkerError>>,
) {
    let WorkerSetup { sockets, queue, masquerade, parcels, core: setup } = setup;
    let sockets = sockets.into_iter().map(|socket| UdpSocket::adopt(socket).map(Rc::new));
    let sockets: Vec<Rc<UdpSocket>> = match sockets.collect::<Result<_, BindError>>() {
        Ok(sockets) => sockets,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let lan = match queue.map(TunQueueFd::into_async).transpose() {
        Ok(queue) => queue.map(|queue| Lan::new(queue, masquerade)),
        Err(error) => return drop(ready.send(Err(WorkerError::Queue(error)))),
    };
    let (count, rearm) = (sockets.len(), Rc::new(Notify::new()));
    let core = Core::new(setup, sockets, lan, rearm.clone());
    if ready.send(Ok(())).is_err() {
        return;
    }
    let Some(recording) = wait_for_start(&core, &mut requests).await else { return };
    core.borrow_mut().start(recording);
    let mut loops = JoinSet::new();
    let room = Rc::new(Notify::new());
    for at in 0..count {
        loops.spawn_local(tasks::receive(core.clone(), at));
        loops.spawn_local(tasks::flush(core.clone(), at, room.clone()));
    }
    loops.spawn_local(tasks::turn(core.clone(), rearm));
    loops.spawn_local(tasks::take_parcels(core.clone(), parcels));
    let queue = core.borrow().lan_queue();
    if let Some(queue) = queue {
        loops.spawn_local(tasks::receive_lan(core.clone(), queue, room));
    }
    loop {
        let command = tokio::select! {
            Some(command) = requests.recv() => command,
            // Each runs for ever: one that ended has failed, and without it the worker is of no use.
            _ = loops.join_next() => return,
            else => return,
        };
        if let Command::Stop(done) = command {
            core.borrow_mut().stop(Instant::now());
            // Whoever asked may be gone.
            let _ = done.send(());
            return;
        }
        core.borrow_mut().handle_command(command, Instant::now());
    }
}

/// Takes in clients and settings until evidence can begin.
async fn wait_for_start(core: &SharedCore, requests: &mut mpsc::Receiver<Command>) -> Option<Recording> {
    while let Some(command) = requests.recv().await {
        match command {
            Command::Start(recording) => return Some(recording),
            Command::Stop(done) => {
                let _ = done.send(());
                return None;
            }
            command => core.borrow_mut().handle_command(command, Instant::now()),
        }
    }
    None
}

/// Names a policy in records.
pub fn policy_label(version: &str) -> Label {
    Label::new(version)
}

/// Milliseconds of the wall clock; before 1970 counts as 1970.
pub fn unix_now() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
