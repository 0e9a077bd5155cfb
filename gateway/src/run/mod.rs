//! `vmsgate run`: puts the parts together, applies changes while they run, and ends them in order.
//!
//! This thread never touches a packet. It owns the registry, the configuration file, the probes and the audit
//! writer; the packet loop is a thread per core, to which it sends commands by way
//! of [`Workers`].

mod apply;
mod changes;
mod clients;
mod clock;
mod configuration;
mod file_watch;
mod keys;
pub mod manager;
mod network;
mod port;
mod reports;
mod retention;
mod start;
mod status;
mod translate;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use vmsgate_audit::event::{Event, GatewayStopped};
use vmsgate_audit::{AuditWriter, Database, Reason, Record, UtcTime};
use vmsgate_cli::{CliError, OrFail};
use vmsgate_config::Config;
use vmsgate_keys::{Identity, MasterKey, RegistryError};
use vmsgate_netsetup::Kernel;
use x25519_dalek::StaticSecret;

use self::apply::Present;
use self::clients::ClientSource;
use self::clock::ClockWatch;
use self::file_watch::FileWatch;
use self::keys::KeyChanges;
use self::port::PortWatch;
use self::reports::Reports;
use crate::admin::changes::ChangeRequests;
use crate::admin::status::StatusRequests;
use crate::control::facts::Facts;
use crate::control::requests::KeyRequests;
use crate::health::{ConditionCode, Health};
use crate::ship::{self, Shipping};
use crate::stack::wiped;
use crate::worker::{Call, Recording, WorkerError, Workers, policy_label, unix_now};

pub use self::configuration::waiting_for_restart;
pub use self::port::OwnDatagram;
pub use self::start::Start;

/// A registry change is in force within 2 s; one poll is one small query.
const REGISTRY_POLL: Duration = Duration::from_millis(500);
/// How often the registry learns who is there.
const PRESENCE: Duration = Duration::from_secs(30);
const FILE_POLL: Duration = Duration::from_secs(1);
/// How long the end may wait for the disk.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end may wait for the registry.
const REPORT_PATIENCE: Duration = Duration::from_secs(3);
/// How long the end may wait for receivers of the audit log.
const SHIP_PATIENCE: Duration = Duration::from_secs(2);

/// A running gateway.
pub struct Gateway {
    config: Config,
    watch: Option<FileWatch>,
    workers: Workers,
    listening: Vec<SocketAddr>,
    /// Egress `tun`: what undoes the set-up in the kernel.
    _kernel: Option<Kernel>,
    audit: AuditWriter,
    recording: Recording,
    shipping: Shipping,
    retention: retention::Keeper,
    clients: ClientSource,
    facts: Facts,
    key_requests: KeyRequests,
    /// Those that answer, the newest last.
    identities: Vec<Identity>,
    calls: mpsc::Receiver<Call>,
    key_changes: KeyChanges,
    present: Present,
    reports: Reports,
    health: Health,
    port: PortWatch,
    status: StatusRequests,
    changes: ChangeRequests,
    started: Timestamp,
    /// The admin listener and the control socket; aborted at the end.
    servers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Where clients reach it.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Runs until `stop` resolves, then ends in order. `reload` says each time that somebody asks for it.
    pub async fn serve(
        mut self,
        stop: impl Future<Output = &'static str>,
        reload: impl AsyncFnMut(),
    ) -> Result<(), CliError> {
        let served = self.serve_until(stop, reload).await;
        let reason = served.as_ref().map_or("failure", |reason| *reason);
        let ended = self.end(reason).await;
        served.and(ended)
    }

    async fn serve_until(
        &mut self,
        stop: impl Future<Output = &'static str>,
        mut reload: impl AsyncFnMut(),
    ) -> Result<&'static str, CliError> {
        let mut registry = every(REGISTRY_POLL);
        let mut presence = every(PRESENCE);
        let mut file = every(FILE_POLL);
        let mut port = every(port::INTERVAL);
        let mut clock = ClockWatch::new(Instant::now(), now());
        let mut stop = std::pin::pin!(stop);
        loop {
            self.report_audit();
            tokio::select! {
                reason = &mut stop => return Ok(reason),
                () = self.workers.ended() => return Err(worker_error(WorkerError::Gone)),
                _ = registry.tick() => {
                    if let Some(stepped) = clock.look(Instant::now(), now()) {
                        tracing::warn!("the clock was set, or the machine slept");
                        self.recording.audit.append(stepped.under_policy(policy_label(&self.config.version)));
                    }
                    self.apply_registry().await?;
                    self.report_news();
                }
                _ = file.tick() => {
                    if self.watch.as_mut().is_some_and(FileWatch::has_changed) {
                        self.reload("the file has changed").await?;
                    }
                }
                _ = port.tick() => self.port.turn(&self.health),
                () = self.retention.due() => {
                    self.retention.start(&self.config.audit.retention, &self.config.gateway.name, now());
                }
                () = reload() => {
                    self.reload("a reload was asked for").await?;
                }
                Some(request) = self.changes.recv() => self.answer_about_changes(request).await?,
                Some(call) = self.calls.recv() => self.take_call(call),
                outcome = self.key_changes.done() => self.finish(outcome).await?,
                _ = presence.tick() => self.report_presence().await?,
                Some(reply) = self.status.recv() => {
                    let status = self.status().await?;
                    // Whoever asked may have gone.
                    let _ = reply.send(status);
                }
            }
        }
    }

    fn report_audit(&self) {
        let health = self.recording.audit.health();
        let accepting = self.recording.accepting();
        self.health.report(ConditionCode::AuditAccepting, accepting, health.reason().to_owned());
        let shipping = ship::summary(&self.shipping.status());
        self.health.report(ConditionCode::AuditShipping, true, shipping);
    }

    /// Cuts everybody off, writes the last records, closes the sockets.
    async fn end(mut self, reason: &'static str) -> Result<(), CliError> {
        tracing::info!(reason, "stopping");
        let reported = self.report_presence().await;
        // One that is gone keeps neither the others from closing their sessions nor the log from its end.
        let workers = self.workers.stop().await.map_err(worker_error);
        let event = Event::GatewayStopped(GatewayStopped { reason: Reason::new(reason) });
        let record = Record::new(now(), event).under_policy(policy_label(&self.config.version));
        self.recording.audit.append(record);
        self.retention.stop();
        let stopped = self.audit.stop(STOP_PATIENCE).await;
        // After the last record, so that a receiver learns of the stop.
        self.shipping.stop(SHIP_PATIENCE).await;
        self.reports.stop(REPORT_PATIENCE).await;
        // The last one to close leaves one complete file, which a copy of the directory then holds.
        self.clients.close().await;
        for server in self.servers {
            server.abort();
            // Aborted on purpose; waiting makes sure that its socket is closed.
            let _ = server.await;
        }
        stopped.or_user("the last audit records could not be written").and(workers).and(reported)
    }
}

fn start_shipping(db: &Database, config: &Config) -> Result<Shipping, CliError> {
    let shipping = Shipping::start(db, &config.gateway.name, &config.ships);
    shipping.or_unexpected("cannot start to ship the audit log")
}

fn unseal(identities: &[Identity], master: &MasterKey) -> Result<Vec<StaticSecret>, RegistryError> {
    wiped(|| {
        // Growing would leave copies of the secrets in freed memory.
        let mut secrets = Vec::with_capacity(identities.len());
        for identity in identities {
            secrets.push(identity.private_key(master)?.to_secret());
        }
        Ok(secrets)
    })
}

fn worker_error(error: WorkerError) -> CliError {
    CliError::unexpected(error)
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn now() -> UtcTime {
    UtcTime::from_unix_ms(i64::try_from(unix_now()).unwrap_or(i64::MAX))
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
