//! Changing the registry: one transaction, which also holds the administrative records of what it does.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;
use vmsgate_audit::{
    Chain, Database, Label, Record, Snapshot, VerifyingKey, WriteTransaction, append,
    event::{Admin, Event},
};

use super::{
    Client, ClientName, ClientState, Identity, NewClient, Operator, RegistryError, Remark, Revision,
    Settings, identity,
    read::{self, Selection},
    settings, write,
};
use crate::{actor::Actor, ranges::TunnelRanges, seal::MasterKey};

/// A change under way. It holds the write lock, so do not wait for people while you have one.
#[derive(Debug)]
pub struct Change {
    pub(super) db: Database,
    pub(super) tx: WriteTransaction,
    pub(super) revision: Revision,
    pub(super) now: Timestamp,
    actor: Label,
    records: Vec<Record>,
}

/// What became of a client.
#[derive(Clone, Debug)]
pub struct Applied {
    pub client: Client,
    /// False when the client was like that already; nothing is recorded then.
    pub changed: bool,
    /// The revision that a gateway confirms when it has applied this.
    pub revision: Revision,
}

impl Change {
    pub(super) async fn begin(db: &Database, actor: &Actor) -> Result<Self, RegistryError> {
        let mut tx = db.begin_write().await?;
        let sql = "UPDATE registry_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision";
        let revision = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.map_err(|e| db.explain(e))?;
        let now = whole_millis(Timestamp::now());
        Ok(Self {
            db: db.clone(),
            tx,
            revision: Revision(revision),
            now,
            actor: actor.label(),
            records: Vec::new(),
        })
    }

    /// Makes the change true, together with its records. A change that changed nothing leaves no trace.
    pub async fn commit(mut self) -> Result<(), RegistryError> {
        if self.records.is_empty() {
            return Ok(());
        }
        append(&mut self.tx, &Chain::admin(), &self.records).await?;
        Ok(self.db.commit(self.tx).await?)
    }

    /// Sets up an empty registry: its settings, the gateway's first identity and the audit signing key.
    ///
    /// # Errors
    /// [`RegistryError::AlreadyInitialised`].
    pub async fn initialise(
        &mut self,
        settings: &Settings,
        master: &MasterKey,
    ) -> Result<Identity, RegistryError> {
        let count =
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM registry_setting").fetch_one(&mut *self.tx);
        if count.await.map_err(|e| self.db.explain(e))? > 0 {
            return Err(RegistryError::AlreadyInitialised);
        }
        let identity = Identity::generate(master, self.now);
        settings::insert(&mut self.tx, settings).await.map_err(|e| self.db.explain(e))?;
        identity::insert(&mut self.tx, &identity, self.revision).await.map_err(|e| self.db.explain(e))?;
        #[derive(Serialize)]
        struct Initialised<'a> {
            settings: &'a Settings,
            identity: String,
            audit_key: Option<VerifyingKey>,
        }
        let identity_name = identity.public_key.fingerprint().to_string();
        let audit_key = self.insert_audit_key(master).await?;
        let after = Initialised { settings, identity: identity_name, audit_key };
        self.record("registry.init", &settings.name, None::<&Client>, Some(&after))?;
        Ok(identity)
    }

    /// Adds a client with the next free address of each range.
    pub async fn add_client(
        &mut self,
        new: NewClient,
        ranges: &TunnelRanges,
        master: &MasterKey,
    ) -> Result<Client, RegistryError> {
        self.check_key_free(&new.public_key).await?;
        let mut client = self.insert_client(new.name, new.operator, new.role, new.expires, ranges).await?;
        self.offer(&mut client, new.public_key, &new.preshared_key, master).await?;
        self.record("client.add", client.name.as_str(), None::<&Client>, Some(&client))?;
        Ok(client)
    }

    /// Cuts a client off for now.
    pub async fn suspend(&mut self, name: &str, reason: Option<Remark>) -> Result<Applied, RegistryError> {
        self.update(name, "client.suspend", |client| {
            (client.state, client.reason) = (ClientState::Suspended, reason);
        })
        .await
    }

    /// Lets a suspended client in again.
    pub async fn resume(&mut self, name: &str) -> Result<Applied, RegistryError> {
        self.update(name, "client.resume", |client| {
            (client.state, client.reason) = (ClientState::Active, None);
        })
        .await
    }

    /// Ends a client for good: its name, keys and addresses are never used again.
    pub async fn revoke(&mut self, name: &str, reason: Option<Remark>) -> Result<Applied, RegistryError> {
        let client = self.find(Selection::Named(name)).await?;
        if client.state == ClientState::Revoked {
            return Ok(Applied { revision: client.revision, client, changed: false });
        }
        self.end_open_invitations(client.id).await?;
        let now = self.now;
        self.update(name, "client.revoke", |client| {
            (client.state, client.reason) = (ClientState::Revoked, reason);
            for key in &mut client.keys {
                key.end(now);
            }
        })
        .await
    }

    /// Sets when a client's time is over; none means never.
    pub async fn set_expiry(
        &mut self,
        name: &str,
        expires: Option<Timestamp>,
    ) -> Result<Applied, RegistryError> {
        let expires = expires.map(whole_millis);
        self.update(name, "client.expire", |client| client.expires = expires).await
    }

    /// Records that the keystore gets another passphrase. The caller writes the file before it commits.
    pub fn passphrase_changed(&mut self) -> Result<(), RegistryError> {
        self.record("keystore.passwd", "keystore", None::<&Client>, None::<&Client>)
    }

    async fn update(
        &mut self,
        name: &str,
        act: &'static str,
        edit: impl FnOnce(&mut Client),
    ) -> Result<Applied, RegistryError> {
        let before = self.find_living(Selection::Named(name)).await?;
        let mut client = before.clone();
        edit(&mut client);
        if (before.state, before.expires) == (client.state, client.expires) {
            return Ok(Applied { revision: before.revision, client: before, changed: false });
        }
        self.store(&mut client).await?;
        self.record(act, client.name.as_str(), Some(&before), Some(&client))?;
        Ok(Applied { revision: client.revision, client, changed: true })
    }

    /// Stores what changed of a client, as this revision.
    pub(super) async fn store(&mut self, client: &mut Client) -> Result<(), RegistryError> {
        client.revision = self.revision;
        write::update_client(&mut self.tx, client).await.map_err(|e| self.db.explain(e).into())
    }

    pub(super) async fn find(&mut self, which: Selection<'_>) -> Result<Client, RegistryError> {
        let found = read::clients_within(&mut self.tx, which).await;
        match (found.map_err(|e| e.explained_by(&self.db))?.pop(), which) {
            (Some(client), _) => Ok(client),
            (None, Selection::Named(name)) => Err(read::no_such_client(&self.db, name).await),
            (None, _) => Err(RegistryError::NoSuchClient { name: "?".to_owned(), nearest: None }),
        }
    }

    /// Stores a new client, without a key yet, with the next free address of each range.
    pub(super) async fn insert_client(
        &mut self,
        name: ClientName,
        operator: Operator,
        role: String,
        expires: Option<Timestamp>,
        ranges: &TunnelRanges,
    ) -> Result<Client, RegistryError> {
        write::check_name_free(&mut self.tx, name.as_str()).await.map_err(|e| e.explained_by(&self.db))?;
        let mut client = Client {
            id: Uuid::now_v7(),
            name,
            operator,
            role,
            state: ClientState::Active,
            reason: None,
            expires: expires.map(whole_millis),
            created: self.now,
            addresses: Vec::new(),
            keys: Vec::new(),
            revision: self.revision,
        };
        let addresses = write::insert_client(&mut self.tx, &client, ranges).await;
        client.addresses = addresses.map_err(|e| e.explained_by(&self.db))?;
        Ok(client)
    }

    pub(super) fn record<B: Serialize, A: Serialize>(
        &mut self,
        act: &str,
        object: &str,
        before: Option<&B>,
        after: Option<&A>,
    ) -> Result<(), RegistryError> {
        let event = Event::Admin(Admin {
            act: Label::new(act),
            actor: self.actor.clone(),
            object: Label::new(object),
            before: before.map(Snapshot::of).transpose()?,
            after: after.map(Snapshot::of).transpose()?,
        });
        self.records.push(Record::new(self.now.into(), event));
        Ok(())
    }
}

/// What the database keeps of a time, so that a record says exactly what was stored.
pub(crate) fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
