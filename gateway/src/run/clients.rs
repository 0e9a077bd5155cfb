//! The registry's clients as the packet loop wants them: all at the start, then only what changed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;
use vmsgate_audit::query::{self, Filter};
use vmsgate_audit::{Database, Label, UtcTime};
use vmsgate_config::Config;
use vmsgate_keys::registry::Revision;
use vmsgate_keys::{Client, ClientState, Identity, MasterKey, Registry, RegistryError};
use vmsgate_tunnel::event::ClientInfo;
use vmsgate_tunnel::peer::{Access, ClientConfig, ClientKey};

use crate::worker::unix_now;

/// A client that was connected so recently before the start still has its key pair and waits for answers.
const RECENT: Duration = Duration::from_secs(180);

pub struct ClientSource {
    registry: Registry,
    master: MasterKey,
    known: Revision,
}

impl ClientSource {
    pub fn new(registry: Registry, master: MasterKey) -> ClientSource {
        ClientSource { registry, master, known: Revision::NONE }
    }

    pub async fn close(self) {
        self.registry.close().await;
    }

    pub fn database(&self) -> &Database {
        self.registry.database()
    }

    pub async fn identities(&self) -> Result<Vec<Identity>, RegistryError> {
        self.registry.identities().await
    }

    pub async fn all(&mut self, config: &Config) -> Result<Vec<ClientConfig>, RegistryError> {
        // Read before the clients: a change in between is then seen again, not missed.
        let known = self.registry.revision().await?;
        let clients = self.registry.clients().await?;
        self.known = known;
        self.translate(&clients, config)
    }

    pub async fn changes(&mut self, config: &Config) -> Result<Vec<ClientConfig>, RegistryError> {
        let changes = self.registry.changes_since(self.known).await?;
        let changed = self.translate(&changes.clients, config)?;
        self.known = changes.revision;
        Ok(changed)
    }

    /// Clients whose session ended with the gateway's last run, and where they were then.
    pub async fn recently_connected(
        &self,
        gateway: &str,
        clients: &[ClientConfig],
    ) -> Vec<(Uuid, SocketAddr)> {
        let since = unix_now().saturating_sub(RECENT.as_millis() as u64);
        let since = Some(UtcTime::from_unix_ms(i64::try_from(since).unwrap_or(i64::MAX)));
        let limit = u32::try_from(clients.len()).unwrap_or(u32::MAX).saturating_add(1);
        let filter = Filter { since, limit, ..Filter::default() };
        let sessions = match query::sessions(self.registry.database(), &filter).await {
            Ok(listing) => listing.rows,
            Err(error) => {
                tracing::warn!(%error, "clients from before the start have to find out by themselves");
                return Vec::new();
            }
        };
        let by_name: HashMap<&str, Uuid> = clients.iter().map(|c| (&*c.info.name, c.info.id)).collect();
        let cut_off = |reason: &str| reason == "shutdown" || reason == "gateway-crash";
        let mine = sessions.iter().filter(|row| row.gateway == Label::new(gateway));
        let interrupted =
            mine.filter(|row| row.reason.as_ref().is_some_and(|reason| cut_off(reason.as_str())));
        let mut places: HashMap<Uuid, SocketAddr> = HashMap::new();
        for row in interrupted {
            if let Some(id) = by_name.get(row.client.as_str()) {
                // Newest first: the first place of a client is its last.
                places.entry(*id).or_insert(row.source);
            }
        }
        places.into_iter().collect()
    }

    fn translate(&self, clients: &[Client], config: &Config) -> Result<Vec<ClientConfig>, RegistryError> {
        clients.iter().map(|client| self.translate_one(client, config)).collect()
    }

    fn translate_one(&self, client: &Client, config: &Config) -> Result<ClientConfig, RegistryError> {
        let now = Timestamp::now();
        let outside = |address: &&IpAddr| !config.gateway.tunnel.iter().any(|range| range.contains(*address));
        if let Some(address) = client.addresses.iter().find(outside) {
            tracing::warn!(client = %client.name, %address, "the address is outside the configured tunnel ranges");
        }
        let own = config.gateway.tunnel_addresses();
        let taken: Vec<&IpAddr> = client.addresses.iter().filter(|address| own.contains(address)).collect();
        if !taken.is_empty() {
            tracing::error!(
                client = %client.name, ?taken,
                "a changed tunnel range makes the client's address the gateway's own: the client is shut out"
            );
        }
        if !config.roles.contains_key(&client.role) {
            tracing::warn!(client = %client.name, role = client.role, "the role is not configured: it reaches nothing");
        }
        let keys = client.keys.iter().filter(|key| key.is_valid(now)).map(|key| {
            let preshared = Some(*key.preshared_key(&self.master)?.as_bytes());
            Ok(ClientKey { public: (*key.public_key.as_bytes()).into(), preshared })
        });
        Ok(ClientConfig {
            info: ClientInfo {
                id: client.id,
                name: client.name.to_string().into(),
                operator: client.operator.to_string().into(),
                role: client.role.as_str().into(),
                addresses: client
                    .addresses
                    .iter()
                    .filter(|address| !own.contains(address))
                    .copied()
                    .collect(),
            },
            keys: keys.collect::<Result<_, RegistryError>>()?,
            access: access(client),
        })
    }
}

fn access(client: &Client) -> Access {
    match client.state {
        ClientState::Active => Access::Active { until: client.expires.map(millis) },
        ClientState::Suspended => Access::Suspended,
        ClientState::Revoked => Access::Revoked,
    }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}
