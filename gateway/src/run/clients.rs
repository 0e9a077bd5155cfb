//! The registry as the packet loop wants it: all at the start, then only what changed.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;
use vmsgate_audit::query::{self, Filter};
use vmsgate_audit::{Database, Label, Reason, UtcTime};
use vmsgate_config::Config;
use vmsgate_keys::registry::Revision;
use vmsgate_keys::{
    Client, ClientState, Identity, Invitation, MasterKey, PublicKey, Registry, RegistryError, Standing,
};
use vmsgate_tunnel::event::Interrupted;
use vmsgate_tunnel::peer::{ClientConfig, ClientKind};

use super::translate;
use crate::control::facts::Facts;
use crate::worker::unix_now;

/// A client that was connected so recently before the start still has its key pair and waits for answers. In
/// milliseconds.
const RECENT: u64 = 180_000;

pub struct ClientSource {
    registry: Registry,
    master: MasterKey,
    known: Revision,
    facts: Facts,
    /// Keys that no gateway has heard yet.
    unheard: HashSet<PublicKey>,
    names: HashMap<Uuid, String>,
    /// Clients whose access ends some day.
    ends: HashMap<Uuid, Ends>,
}

/// What ends a client's access by itself.
struct Ends {
    client: String,
    validity: Option<Timestamp>,
    /// Of the key that the device has, while it is to move to a newer one.
    key: Option<Timestamp>,
}

/// What is new in the registry.
pub struct News {
    pub clients: Vec<ClientConfig>,
    /// Clients of these that may not connect any more.
    pub blocked: Vec<Client>,
    /// All that answer, if one came or went.
    pub identities: Option<Vec<Identity>>,
    pub revision: Revision,
}

impl ClientSource {
    pub fn new(registry: Registry, master: MasterKey, facts: Facts) -> ClientSource {
        let (unheard, names, ends) = (HashSet::new(), HashMap::new(), HashMap::new());
        ClientSource { registry, master, known: Revision::NONE, facts, unheard, names, ends }
    }

    pub async fn close(self) {
        self.registry.close().await;
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    pub fn database(&self) -> &Database {
        self.registry.database()
    }

    /// What has been applied.
    pub fn revision(&self) -> Revision {
        self.known
    }

    /// Whether no gateway has heard this key yet.
    pub fn is_unheard(&self, key: &PublicKey) -> bool {
        self.unheard.contains(key)
    }

    /// A client's name. Invitations have none of their own.
    pub fn name(&self, client: Uuid) -> Option<&str> {
        self.names.get(&client).map(String::as_str)
    }

    /// Clients whose access ends some day, and when that is or was.
    pub fn ends(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        self.ends.values().filter_map(move |ends| {
            // A device whose key has ended needs its new profile: that is no matter of time any more.
            let key = ends.key.filter(|end| *end > now);
            Some((ends.client.as_str(), ends.validity.into_iter().chain(key).min()?))
        })
    }

    pub async fn all(&mut self, config: &Config) -> Result<Vec<ClientConfig>, RegistryError> {
        // Read before the clients: a change in between is then seen again, not missed.
        let known = self.registry.revision().await?;
        let (clients, invitations) = (self.registry.clients().await?, self.registry.invitations().await?);
        let all = self.translate(&clients, &invitations, config)?;
        self.known = known;
        Ok(all)
    }

    /// What changed since the last that was [applied](Self::applied).
    pub async fn news(&mut self, config: &Config) -> Result<News, RegistryError> {
        let changes = self.registry.changes_since(self.known).await?;
        let identities =
            if changes.identities_changed { Some(self.registry.identities().await?) } else { None };
        let clients = self.translate(&changes.clients, &changes.invitations, config)?;
        let now = Timestamp::now();
        let mut blocked = changes.clients;
        blocked.retain(|client| client.standing(now) != Standing::Active);
        Ok(News { clients, blocked, identities, revision: changes.revision })
    }

    /// Notes that the workers have taken over all of it.
    pub fn applied(&mut self, revision: Revision) {
        self.known = revision;
    }

    /// Sessions that ended with the gateway's last run, the last of each client.
    pub async fn interrupted(&self, gateway: &str, clients: &[ClientConfig]) -> Vec<Interrupted> {
        let since = unix_now().saturating_sub(RECENT);
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
        let devices = clients.iter().filter(|client| client.kind == ClientKind::Device);
        let by_name: HashMap<&str, Uuid> = devices.map(|c| (&*c.info.name, c.info.id)).collect();
        let mut last: HashMap<Uuid, Interrupted> = HashMap::new();
        for row in sessions.iter().filter(|row| row.gateway == Label::new(gateway)) {
            let cut_off = row.reason.as_ref().map(Reason::as_str);
            if let (Some("shutdown" | "gateway-crash"), Some(ended)) = (cut_off, row.ended)
                && let Some(&client) = by_name.get(row.client.as_str())
            {
                let until = u64::try_from(ended.unix_ms()).unwrap_or(0).saturating_add(RECENT);
                let found = Interrupted { client, session: row.session, endpoint: row.source, until };
                // Newest first.
                last.entry(client).or_insert(found);
            }
        }
        last.into_values().collect()
    }

    fn translate(
        &mut self,
        clients: &[Client],
        invitations: &[Invitation],
        config: &Config,
    ) -> Result<Vec<ClientConfig>, RegistryError> {
        let now = Timestamp::now();
        let mut translated = Vec::with_capacity(clients.len() + invitations.len());
        for client in clients {
            translated.push(translate::client(client, config, &self.master, now)?);
        }
        for invitation in invitations {
            translated.push(translate::invitation(invitation, &self.master)?);
        }
        clients.iter().for_each(|client| self.note(client, now));
        for invitation in invitations {
            if let Some(at) = invitation.reused {
                self.facts.set_invitation_reused(invitation.client, at);
            }
        }
        Ok(translated)
    }

    fn note(&mut self, client: &Client, now: Timestamp) {
        self.facts
            .set_keys(client.id, client.keys.iter().map(|key| (key.public_key, key.valid_from)).collect());
        self.names.insert(client.id, client.name.to_string());
        for key in &client.keys {
            if key.heard.is_none() && key.is_valid(now) {
                self.unheard.insert(key.public_key);
            } else {
                self.unheard.remove(&key.public_key);
            }
        }
        let key = client.current_key(now).and_then(|key| key.valid_until);
        if client.state == ClientState::Active && (client.expires.is_some() || key.is_some()) {
            let ends = Ends { client: client.name.to_string(), validity: client.expires, key };
            self.ends.insert(client.id, ends);
        } else {
            self.ends.remove(&client.id);
        }
    }
}
