//! Ships the audit log to other systems, live: to syslog receivers and OpenTelemetry collectors.
//!
//! # How a record gets there
//!
//! The store stays the truth: what is shipped is read back from it, after the commit, in the order of each chain. A
//! thread of its own serves every receiver with a task ([`shipper`]), a database connection and a cursor of its own, so
//! neither the packet path nor the audit writer ever waits for a receiver, and a dead one delays no other. Memory
//! is bounded by one batch per receiver.
//!
//! # At least once
//!
//! A cursor is moved after its records were received, and a new connection begins at the cursor: records may arrive
//! twice, and chain and sequence number tell. When a record counts as received differs: OTLP answers ([`collector`]);
//! a syslog stream does not, so the kernel's acknowledgement and a moment of life after it must do ([`pending`]); a
//! datagram is received when it is sent ([`datagram`]).

mod collector;
mod connect;
mod datagram;
mod error;
mod otlp;
mod pending;
mod receiver;
mod record;
mod report;
mod shipper;
mod stream;
mod syslog;
#[cfg(test)]
mod tests;
mod window;

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use vmsgate_audit::Database;
use vmsgate_config::Ship;

pub use report::{ShipState, ShipStatus, summary};

use report::Report;
use shipper::Shipper;

/// What the shippers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Run,
    /// Send what there is, then end.
    Finish,
    /// End now.
    Abandon,
}

/// The thread that serves the receivers. Dropping it ends the thread without a last delivery.
#[derive(Debug)]
pub struct Shipping {
    reports: Vec<Report>,
    phase: watch::Sender<Phase>,
    finished: oneshot::Receiver<()>,
}

impl Shipping {
    /// Starts to ship the chains of `gateway` and of administrative acts in `db`.
    pub fn start(db: &Database, gateway: &str, ships: &[Ship]) -> io::Result<Self> {
        let reports: Vec<Report> = ships.iter().map(Report::new).collect();
        let (phase, phases) = watch::channel(Phase::Run);
        let (done, finished) = oneshot::channel();
        let shippers: Vec<Shipper> = ships
            .iter()
            .zip(&reports)
            .map(|(ship, report)| {
                Shipper::new(db.clone(), gateway.to_owned(), ship.clone(), report.clone(), phases.clone())
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("audit-shipping".into()).spawn(move || {
            runtime.block_on(serve(shippers));
            // A name that is being looked up must not hold up the end.
            runtime.shutdown_background();
            // Nobody listens when it was dropped instead of stopped.
            let _ = done.send(());
        })?;
        Ok(Self { reports, phase, finished })
    }

    /// The receivers, in the order of the configuration.
    pub fn status(&self) -> Vec<ShipStatus> {
        self.reports.iter().map(Report::status).collect()
    }

    /// Sends what is left to the receivers that take it within `patience`, and ends the thread. The others get it
    /// after the next start.
    pub async fn stop(&mut self, patience: Duration) {
        self.phase.send_replace(Phase::Finish);
        if tokio::time::timeout(patience, &mut self.finished).await.is_err() {
            self.phase.send_replace(Phase::Abandon);
            // Fails only if the thread is gone.
            let _ = (&mut self.finished).await;
        }
    }
}

async fn serve(shippers: Vec<Shipper>) {
    let mut tasks: JoinSet<()> = shippers.into_iter().map(Shipper::run).collect();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a shipper of the audit log ended unexpectedly");
        }
    }
}
