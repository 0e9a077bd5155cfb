//! What is to be found out beside the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use vmsgate_audit::{
    Database, Label, StoreError, UtcTime,
    query::{Filter, flows, last_act},
};
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::Config;
use vmsgate_keys::{Client, DataDir, Registry, Seen, Standing};

use crate::hinted::registry_error;

/// How far back use is looked for.
pub const USE_DAYS: i64 = 30;
/// The newest flows of a client that are looked at: more would not say more about a month of work.
const FLOWS_PER_CLIENT: u32 = 10_000;
/// systemd-timesyncd makes this file once it has set the clock; any user may see it.
const TIME_IS_SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

#[derive(Debug)]
pub struct Facts {
    pub now: Timestamp,
    pub clients: Vec<Client>,
    /// How each client was last heard.
    pub seen: Vec<Seen>,
    /// What the clients of a role reached, as server and service. Roles without a client that may connect are left out.
    pub used: BTreeMap<String, BTreeSet<(String, String)>>,
    pub files: Vec<File>,
    pub audit_key: bool,
    pub last_anchor: Option<UtcTime>,
    pub clock: Clock,
}

#[derive(Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Synchronised,
    Unknown,
}

impl Facts {
    pub async fn gather(config: &Config, data: &DataDir) -> Result<Self, CliError> {
        let registry = Registry::open_read_only(&data.database()).await.map_err(registry_error)?;
        let facts = Self::read(config, data, &registry).await;
        registry.close().await;
        facts
    }

    async fn read(config: &Config, data: &DataDir, registry: &Registry) -> Result<Self, CliError> {
        let now = Timestamp::now();
        let database = registry.database();
        let clients = registry.clients().await.map_err(registry_error)?;
        let unreadable = "cannot read the audit log";
        Ok(Self {
            now,
            used: used(config, database, &clients, now).await.or_unexpected(unreadable)?,
            clients,
            seen: registry.presence().await.map_err(registry_error)?,
            files: [data.path().to_owned(), data.keystore(), data.database()]
                .into_iter()
                .map(file)
                .collect::<Result<_, _>>()?,
            audit_key: registry.audit_public_key().await.map_err(registry_error)?.is_some(),
            last_anchor: last_act(database, "audit.checkpoint").await.or_unexpected(unreadable)?,
            clock: if Path::new(TIME_IS_SYNCHRONISED).exists() {
                Clock::Synchronised
            } else {
                Clock::Unknown
            },
        })
    }
}

async fn used(
    config: &Config,
    database: &Database,
    clients: &[Client],
    now: Timestamp,
) -> Result<BTreeMap<String, BTreeSet<(String, String)>>, StoreError> {
    let since = now.saturating_sub(SignedDuration::from_hours(USE_DAYS * 24)).unwrap_or(Timestamp::MIN);
    let mut used: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    let known = |client: &&Client| config.roles.contains_key(&client.role);
    for client in clients.iter().filter(known).filter(|client| client.standing(now) == Standing::Active) {
        let filter = Filter {
            since: Some(since.into()),
            client: Some(Label::new(client.name.as_str())),
            limit: FLOWS_PER_CLIENT,
            ..Filter::default()
        };
        let of_role = used.entry(client.role.clone()).or_default();
        for flow in flows(database, &filter).await?.rows {
            if let (Some(server), Some(service)) = (flow.destination.server, flow.destination.service) {
                of_role.insert((server.as_str().to_owned(), service.as_str().to_owned()));
            }
        }
    }
    Ok(used)
}

fn file(path: PathBuf) -> Result<File, CliError> {
    let metadata = fs::metadata(&path)
        .or_user(format!("cannot look at {}", path.display()))
        .hint("run this command as the gateway's user")?;
    Ok(File { mode: metadata.permissions().mode() & 0o777, path })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// One server with one service, and what the test adds.
    pub fn config(more: &str) -> Config {
        let text = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"127.0.0.1:51820\"\nendpoint = \"vpn.example.org:51820\"\n\
             tunnel = [\"10.99.0.0/16\"]\ndata = \"data\"\n\n[[server]]\nname = \"rec01\"\n\
             address = \"192.168.10.21\"\nservices = [\"recording-server\"]\n\n{more}"
        );
        Config::from_str(&text, "gateway.toml").unwrap()
    }

    pub fn facts() -> Facts {
        Facts {
            now: "2026-11-24T10:00:00Z".parse().unwrap(),
            clients: Vec::new(),
            seen: Vec::new(),
            used: BTreeMap::new(),
            files: Vec::new(),
            audit_key: false,
            last_anchor: None,
            clock: Clock::Unknown,
        }
    }

    pub fn client(name: &str) -> Client {
        Client {
            id: uuid::Uuid::from_u128(1),
            name: name.parse().unwrap(),
            operator: "Anna Berg".parse().unwrap(),
            role: "management-client".to_owned(),
            state: vmsgate_keys::ClientState::Active,
            reason: None,
            expires: None,
            created: Timestamp::UNIX_EPOCH,
            addresses: Vec::new(),
            keys: Vec::new(),
            revision: vmsgate_keys::Revision::NONE,
        }
    }
}
