//! From a configuration and a data directory to a running gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use vmsgate_audit::event::{Event, GatewayStarted};
use vmsgate_audit::{AuditHandle, AuditWriter, Chain, Checkpoints, Label, Record, WriterConfig};
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::{Config, Egress};
use vmsgate_keys::{Actor, DataDir, Keystore, MasterKey, Passphrase, Registry};

use super::apply::Present;
use super::clients::ClientSource;
use super::file_watch::FileWatch;
use super::keys::KeyChanges;
use super::manager::Handed;
use super::network::Network;
use super::port::PortWatch;
use super::reports::Reports;
use super::{Gateway, configuration, join, network, now, retention, start_shipping, unseal, worker_error};
use crate::admin::{ControlSocket, changes::changes_channel, serve_probes, status::status_channel};
use crate::control::facts::Facts;
use crate::control::requests::KeyRequests;
use crate::health::{ConditionCode, Health};
use crate::hinted::{keystore_error, registry_error};
use crate::worker::{Recording, Workers, WorkersSetup, policy_label};

/// What workers may have told before the main thread comes to it.
const CALLS: usize = 1024;

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
        let handed = Handed::take()?;
        let workers = network::workers(&start.config, &handed);
        // While this is the only thread: with egress `tun` it gives up every right that later threads would inherit.
        let network = network::open(&start.config, workers, handed)?;
        let keystore = Keystore::read(&start.data.keystore());
        let keystore = keystore.map_err(keystore_error)?;
        let master = keystore.open(&start.passphrase).map_err(keystore_error)?;
        let registry = Registry::open(&start.data.database()).await.map_err(registry_error)?;
        Ok(Self { network, workers, master, registry })
    }
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
        let port = PortWatch::new(&listening).or_user("cannot open a socket to watch the own port with")?;
        health.watch_ports(port.own().or_unexpected("a socket without an address")?);
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
        let interrupted = clients.interrupted(&config.gateway.name, &all).await;
        workers.set_clients(all).await.map_err(worker_error)?;
        record_start(&audit.handle(), &listening, &config);
        let recording = Recording {
            audit: audit.handle(),
            durability: config.audit.durability,
            on_failure: config.audit.on_failure,
            failure_grace: config.audit.failure_grace,
        };
        // First, so that whoever comes by itself is known as the one that was there.
        workers.reconnect(&interrupted).await.map_err(worker_error)?;
        workers.start(&recording).await.map_err(worker_error)?;
        health.report(ConditionCode::RegistryReadable, true, "the registry was read");
        health.report(ConditionCode::ConfigurationInForce, true, "the configuration is in force");

        let (client, status) = status_channel();
        let (change, changes) = changes_channel();
        let probed = health.clone();
        let servers = vec![
            tokio::spawn(serve_probes(admin, health.clone(), client.clone())),
            tokio::spawn(async move { socket.serve(client, change, probed).await }),
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
            port,
            status,
            changes,
            started,
            servers,
        })
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
