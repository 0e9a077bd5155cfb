//! `vmsgate run`: puts the parts together, applies changes while they run, and ends them in order.
//!
//! This thread never touches a packet. It owns the registry, the configuration file, the probes and the audit
//! writer; the packet loop is a thread per core, to which it sends commands by way
//! of [`Workers`].

mod apply;
mod clients;
mod clock;
mod configuration;
mod file_watch;
mod keys;
mod network;
mod reports;
mod retention;
mod status;
mod translate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use vmsgate_audit::event::{ConfigRefused, Event, GatewayStarted, GatewayStopped};
use vmsgate_audit::{
    AuditHandle, AuditWriter, Chain, Checkpoints, Database, Label, Reason, Record, UtcTime, WriterConfig,
};
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::{Config, ConfigErrors, Egress};
use vmsgate_keys::{Actor, DataDir, Identity, Keystore, MasterKey, Passphrase, Registry, RegistryError};
use vmsgate_netsetup::Kernel;
use x25519_dalek::StaticSecret;

use self::apply::Present;
use self::clients::ClientSource;
use self::clock::ClockWatch;
use self::file_watch::FileWatch;
use self::keys::KeyChanges;
use self::network::Network;
use self::reports::Reports;
use crate::admin::{ControlSocket, serve_probes, status::StatusRequests, status::status_channel};
use crate::control::facts::Facts;
use crate::control::requests::KeyRequests;
use crate::health::{ConditionCode, Health};
use crate::hinted::{keystore_error, registry_error};
use crate::ship::{self, Shipping};
use crate::worker::{Call, Recording, WorkerError, Workers, WorkersSetup, policy_label, unix_now};

/// A registry change is in force within 2 s; one poll is one small query.
const REGISTRY_POLL: Duration = Duration::from_millis(500);
/// How often the registry learns who is there.
const PRESENCE: Duration = Duration::from_secs(30);
/// What workers may have told before this thread comes to it.
const CALLS: usize = 1024;
const FILE_POLL: Duration = Duration::from_secs(1);
/// How long the end may wait for the disk.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end may wait for the registry.
const REPORT_PATIENCE: Duration = Duration::from_secs(3);
/// How long the end may wait for receivers of the audit log.
const SHIP_PATIENCE: Duration = Duration::from_secs(2);

/// What a gateway is started from.
#[derive(Debug)]
pub struct Start {
    pub config: Config,
    /// Where the configuration came from, to notice when it changes.
    pub config_path: Option<PathBuf>,
    pub data: DataDir,
    pub passphrase: Passphrase,
    /// Who starts it.
    pub actor: Actor,
}

/// What is read before anything is started.
struct Opened {
    network: Network,
    workers: u8,
    master: MasterKey,
    registry: Registry,
}

impl Opened {
    async fn open(start: &Start) -> Result<Self, CliError> {
        let workers = network::workers(&start.config);
        // While this is the only thread: with egress `tun` it gives up every right that later threads would inherit.
        let network = network::open(&start.config, workers)?;
        let keystore = Keystore::read(&start.data.keystore());
        let keystore = keystore.map_err(keystore_error)?;
        let master = keystore.open(&start.passphrase).map_err(keystore_error)?;
        let registry = Registry::open(&start.data.database()).await.map_err(registry_error)?;
        Ok(Self { network, workers, master, registry })
    }
}

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
    status: StatusRequests,
    started: Timestamp,
    /// The admin listener and the control socket; aborted at the end.
    servers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts everything, cheapest to refuse first. An error leaves nothing behind.
    pub async fn start(start: Start) -> Result<Gateway, CliError> {
        let opened = Opened::open(&start).await?;
        let database = opened.registry.database().clone();
        let started = Self::start_with(start, opened).await;
        if started.is_err() {
            database.close().await;
        }
        started
    }

    async fn start_with(start: Start, opened: Opened) -> Result<Gateway, CliError> {
        let Start { config, config_path, data, actor, .. } = start;
        let Opened { network, workers: count, master, registry } = opened;
        let health = Health::new(Instant::now(), count);
        let identities = registry.identities().await.map_err(registry_error)?;
        let secrets = unseal(&identities, &master).map_err(registry_error)?;

        let admin = TcpListener::bind(config.admin.listen).await;
        let admin = admin.or_user(format!("cannot listen on {} for probes", config.admin.listen));
        let admin = admin.hint("free the port, or set `listen` in the section `[admin]`")?;
        let socket = ControlSocket::bind(&data).await.map_err(CliError::user);
        let socket = socket.hint("is another gateway running on this data directory?")?;

        let (facts, key_requests) = (Facts::default(), KeyRequests::default());
        let (calling, calls) = mpsc::channel(CALLS);
        let Network { sockets, listening, receive_buffers, queues, kernel } = network;
        let setup = WorkersSetup {
            sockets,
            queues,
            masquerade: matches!(&config.gateway.egress, Egress::Tun(tun) if tun.masquerade),
            workers: count,
            stack: configuration::stack(&config, count),
            configuration: configuration::build(&config, &identities, &facts, &key_requests, count),
            identities: secrets,
            health: health.clone(),
            calls: calling,
        };
        let mut workers = Workers::spawn(setup).await.map_err(worker_error)?;
        health.report(ConditionCode::UdpBound, true, format!("bound: {}", join(&listening)));
        configuration::warn_about_buffers(&receive_buffers);

        let chain = Chain::gateway(&config.gateway.name);
        let key = registry.audit_signing_key(&master, &actor).await.map_err(registry_error)?;
        let checkpoints = Some(Checkpoints::every_minute(key.clone()));
        let retention = retention::Keeper::new(registry.database().clone(), key);
        let writing = WriterConfig { capacity: config.audit.queue as usize, checkpoints };
        let audit = AuditWriter::spawn(registry.database(), chain, writing, now()).await;
        let audit = audit.or_user("the audit log cannot be written")?;

        let shipping = start_shipping(registry.database(), &config)?;

        let mut clients = ClientSource::new(registry, master, facts.clone());
        let all = clients.all(&config).await.map_err(registry_error)?;
        let reconnect = clients.recently_connected(&config.gateway.name, &all).await;
        workers.set_clients(all).await.map_err(worker_error)?;
        record_start(&audit.handle(), &listening, &config);
        let recording = Recording {
            audit: audit.handle(),
            durability: config.audit.durability,
            on_failure: config.audit.on_failure,
            failure_grace: config.audit.failure_grace,
        };
        workers.start(&recording).await.map_err(worker_error)?;
        workers.reconnect(reconnect).await.map_err(worker_error)?;
        health.report(ConditionCode::RegistryReadable, true, "the registry was read");
        health.report(ConditionCode::ConfigurationInForce, true, "the configuration is in force");

        let (client, status) = status_channel();
        let servers = vec![
            tokio::spawn(serve_probes(admin, health.clone(), client.clone())),
            tokio::spawn(async move { socket.serve(client).await }),
        ];
        tracing::info!(
            gateway = config.gateway.name,
            listen = %join(&listening),
            egress = config.gateway.egress.as_str(),
            workers = count,
            policy = config.version,
            "ready"
        );
        let reports =
            Reports::start(clients.registry().clone(), config.gateway.name.clone(), clients.revision());
        let watch = config_path.map(FileWatch::new);
        let started = Timestamp::now();
        Ok(Gateway {
            config,
            watch,
            workers,
            listening,
            _kernel: kernel,
            audit,
            recording,
            shipping,
            retention,
            clients,
            facts,
            key_requests,
            identities,
            calls,
            key_changes: KeyChanges::default(),
            present: Present::default(),
            reports,
            health,
            status,
            started,
            servers,
        })
    }

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
                () = self.retention.due() => {
                    self.retention.start(&self.config.audit.retention, &self.config.gateway.name, now());
                }
                () = reload() => self.reload("a reload was asked for").await?,
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

    /// Puts the configuration file in force, whole or not at all.
    async fn reload(&mut self, why: &str) -> Result<(), CliError> {
        let Some(watch) = &self.watch else { return Ok(()) };
        match vmsgate_config::load(watch.path()) {
            Ok(config) => {
                configuration::warn_about_restart(&self.config, &config);
                let Gateway { identities, facts, key_requests, workers, .. } = self;
                let built = configuration::build(&config, identities, facts, key_requests, workers.count());
                tracing::info!(policy = config.version, why, "the configuration is in force");
                self.workers.configure(built).await.map_err(worker_error)?;
                let name = self.config.gateway.name.clone();
                let receivers_changed = config.ships != self.config.ships;
                self.config = config;
                self.config.gateway.name = name;
                if receivers_changed {
                    self.restart_shipping().await?;
                }
                let text = "the configuration is in force";
                self.health.report(ConditionCode::ConfigurationInForce, true, text);
            }
            Err(errors) => {
                tracing::error!(%errors, why, "the configuration was refused; the old one stays in force");
                // The probes are open to every local user, so they do not quote the file.
                self.recording
                    .audit
                    .append(refused(&errors).under_policy(policy_label(&self.config.version)));
                let count = errors.errors().count();
                let text = format!(
                    "the file was refused ({count} errors, see `vmsgate check`); the old one is in force"
                );
                self.health.report(ConditionCode::ConfigurationInForce, false, text);
            }
        }
        Ok(())
    }

    /// Ships to the receivers of the configuration in force. Each goes on at its own place in the log.
    async fn restart_shipping(&mut self) -> Result<(), CliError> {
        self.shipping.stop(Duration::ZERO).await;
        self.shipping = start_shipping(self.clients.database(), &self.config)?;
        Ok(())
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

fn record_start(audit: &AuditHandle, listening: &[SocketAddr], config: &Config) {
    let started = GatewayStarted {
        version: Label::new(env!("CARGO_PKG_VERSION")),
        listen: listening.to_vec(),
        config_hash: Some(config.hash.into()),
    };
    let record = Record::new(now(), Event::GatewayStarted(started));
    audit.append(record.under_policy(policy_label(&config.version)));
}

fn start_shipping(db: &Database, config: &Config) -> Result<Shipping, CliError> {
    let shipping = Shipping::start(db, &config.gateway.name, &config.ships);
    shipping.or_unexpected("cannot start to ship the audit log")
}

fn refused(errors: &ConfigErrors) -> Record {
    let first = errors.errors().next().map(ToString::to_string).unwrap_or_default();
    let refused = ConfigRefused {
        errors: errors.errors().count() as u64,
        error: Label::new(&first),
        config_hash: errors.hash.map(Into::into),
    };
    Record::new(now(), Event::ConfigRefused(refused))
}

fn unseal(identities: &[Identity], master: &MasterKey) -> Result<Vec<StaticSecret>, RegistryError> {
    // Growing would leave copies of the secrets in freed memory.
    let mut secrets = Vec::with_capacity(identities.len());
    for identity in identities {
        secrets.push(identity.private_key(master)?.to_secret());
    }
    Ok(secrets)
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
