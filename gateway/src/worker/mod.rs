//! The packet loop: one thread that owns its clients, its sockets and its state, and shares nothing.
//!
//! The thread runs a tokio runtime of its own. Everything in it shares one [`Core`] through `Rc<RefCell>`, never
//! across an `await`: receivers hand it batches, the turner its timers, flows their results. Other threads only send
//! [`Command`]s.

mod core;
mod evidence;
mod outlets;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;
use vmsgate_audit::{AuditHandle, Label};
use vmsgate_netio::{BindError, RecvBatch, UdpSocket};
use vmsgate_tunnel::denials::RefusalTotals;
use vmsgate_tunnel::event::UnixMillis;
use vmsgate_tunnel::gateway::Settings;
use vmsgate_tunnel::netstack::StackConfig;
use vmsgate_tunnel::peer::{ClientConfig, SessionStatus};
use x25519_dalek::StaticSecret;

pub use self::core::Core;
use crate::control::ControlState;
use crate::forward::proxy::ProxySettings;
use crate::health::Health;

/// The state that everything on the worker's thread works on.
pub type SharedCore = Rc<RefCell<Core>>;

/// What a worker is made of.
pub struct WorkerSetup {
    pub listen: Vec<SocketAddr>,
    pub stack: StackConfig,
    pub configuration: Configuration,
    pub identities: Vec<StaticSecret>,
    pub health: Health,
}

/// What a new configuration changes while the worker runs.
#[derive(Debug)]
pub struct Configuration {
    pub settings: Settings,
    pub proxy: ProxySettings,
    pub control: Arc<ControlState>,
}

/// A request to the worker, from another thread.
#[derive(Debug)]
pub enum Command {
    /// Evidence begins: until it comes, no datagram is read.
    Start(AuditHandle),
    Clients(Vec<ClientConfig>),
    Configuration(Box<Configuration>),
    /// Clients that were connected before a restart, and where.
    Reconnect(Vec<(Uuid, SocketAddr)>),
    Report(oneshot::Sender<Report>),
    /// Ends every session; answers when all of it has been handed to the audit log and the sockets.
    Stop(oneshot::Sender<()>),
}

/// What the worker says about itself.
#[derive(Debug)]
pub struct Report {
    pub policy: Arc<str>,
    pub clients: usize,
    pub flows: usize,
    pub counters: vmsgate_tunnel::counters::Counters,
    pub refusals: RefusalTotals,
    pub sessions: Vec<SessionStatus>,
    pub at: Instant,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::Sender<Command>,
    listening: Vec<SocketAddr>,
    /// Kernel receive buffers, as granted.
    receive_buffers: Vec<usize>,
}

/// Why a worker did not start, or is not there any more.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot start the worker's thread")]
    Thread(#[source] std::io::Error),
    #[error("the packet loop has ended unexpectedly")]
    Gone,
}

impl Worker {
    /// Binds the sockets and starts the thread. Nothing is received before [`Command::Start`].
    pub async fn spawn(setup: WorkerSetup) -> Result<Worker, WorkerError> {
        let (commands, requests) = mpsc::channel(64);
        let (ready, started) = oneshot::channel();
        let body = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                // Whoever waits for the start may be gone; then nobody needs the error.
                Err(error) => return drop(ready.send(Err(WorkerError::Thread(error)))),
            };
            LocalSet::new().block_on(&runtime, run(setup, requests, ready));
        };
        std::thread::Builder::new().name("worker-0".into()).spawn(body).map_err(WorkerError::Thread)?;
        let (listening, receive_buffers) = started.await.map_err(|_| WorkerError::Gone)??;
        Ok(Worker { commands, listening, receive_buffers })
    }

    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    pub fn receive_buffers(&self) -> &[usize] {
        &self.receive_buffers
    }

    /// Resolves when the packet loop is no more.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    pub async fn send(&self, command: Command) -> Result<(), WorkerError> {
        self.commands.send(command).await.map_err(|_| WorkerError::Gone)
    }

    pub async fn report(&self) -> Result<Report, WorkerError> {
        let (reply, report) = oneshot::channel();
        self.send(Command::Report(reply)).await?;
        report.await.map_err(|_| WorkerError::Gone)
    }

    pub async fn stop(&self) -> Result<(), WorkerError> {
        let (reply, stopped) = oneshot::channel();
        self.send(Command::Stop(reply)).await?;
        stopped.await.map_err(|_| WorkerError::Gone)
    }
}

type Started = Result<(Vec<SocketAddr>, Vec<usize>), WorkerError>;

async fn run(setup: WorkerSetup, mut requests: mpsc::Receiver<Command>, ready: oneshot::Sender<Started>) {
    let sockets: Result<Vec<UdpSocket>, BindError> =
        setup.listen.iter().map(|address| UdpSocket::bind(*address)).collect();
    let sockets: Vec<Rc<UdpSocket>> = match sockets {
        Ok(sockets) => sockets.into_iter().map(Rc::new).collect(),
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let listening = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    let buffers = sockets.iter().filter_map(|socket| socket.receive_buffer_bytes().ok()).collect();
    let rearm = Rc::new(Notify::new());
    let core = Core::new(setup, sockets.clone(), rearm.clone());
    if ready.send(Ok((listening, buffers))).is_err() {
        return;
    }
    let Some(audit) = wait_for_start(&core, &mut requests).await else { return };
    core.borrow_mut().start(audit);
    let mut loops = JoinSet::new();
    for at in 0..sockets.len() {
        loops.spawn_local(receive(core.clone(), at));
        loops.spawn_local(flush(core.clone(), at));
    }
    loops.spawn_local(turn(core.clone(), rearm));
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
async fn wait_for_start(core: &SharedCore, requests: &mut mpsc::Receiver<Command>) -> Option<AuditHandle> {
    while let Some(command) = requests.recv().await {
        match command {
            Command::Start(audit) => return Some(audit),
            Command::Stop(done) => {
                let _ = done.send(());
                return None;
            }
            command => core.borrow_mut().handle_command(command, Instant::now()),
        }
    }
    None
}

/// Reads batches from one socket.
async fn receive(core: SharedCore, at: usize) {
    let socket = core.borrow().socket(at);
    let mut batch = RecvBatch::new();
    loop {
        match socket.recv_batch(&mut batch).await {
            Ok(()) => core.borrow_mut().handle_batch(&batch, Instant::now()),
            Err(error) => {
                core.borrow().report_socket_failure(&error);
                return;
            }
        }
        // Flows and timers get their turn between batches.
        tokio::task::yield_now().await;
    }
}

/// Sends what one socket did not take at once.
async fn flush(core: SharedCore, at: usize) {
    let (socket, blocked) = (core.borrow().socket(at), core.borrow().blocked(at));
    loop {
        blocked.notified().await;
        while !core.borrow_mut().flush_outlet(at) {
            if let Err(error) = socket.writable().await {
                core.borrow().report_socket_failure(&error);
                return;
            }
        }
        // What waited for room in the queue goes on.
        core.borrow_mut().turn(Instant::now());
    }
}

/// Runs timers when they are due and streams when they have made work.
async fn turn(core: SharedCore, rearm: Rc<Notify>) {
    let stack = core.borrow().stack();
    loop {
        let due = core.borrow_mut().arm();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = stack.work() => {}
            () = rearm.notified() => {}
        }
        core.borrow_mut().turn(Instant::now());
    }
}

/// Names a policy in records.
pub fn policy_label(version: &str) -> Label {
    Label::new(version)
}

/// Milliseconds of the wall clock; before 1970 counts as 1970.
pub fn unix_now() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
