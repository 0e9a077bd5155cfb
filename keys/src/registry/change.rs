//! Changing the registry: one transaction, which also holds the administrative records of what it does.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;
use vmsgate_audit::{
    Chain, Database, Label, Record, Snapshot, VerifyingKey, WriteTransaction, append,
    event::{Admin, Event},
};

use super::{
    Client, ClientKey, ClientState, Identity, NewClient, RegistryError, Remark, Revision, Settings, identity,
    read::{self, Selection},
    settings, write,
};
use crate::{
    actor::Actor,
    ranges::TunnelRanges,
    seal::{MasterKey, SealedField},
};

/// A change under way. It holds the write lock, so do not wait for people while you have one.
#[derive(Debug)]
pub struct Change {
    db: Database,
    pub(super) tx: WriteTransaction,
    revision: Revision,
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
        write::check_free(&mut self.tx, &new).await.map_err(|e| e.explained_by(&self.db))?;
        let id = Uuid::now_v7();
        let (id_text, key_text) = (id.to_string(), new.public_key.to_string());
        let field = SealedField::PresharedKey { client: &id_text, public_key: &key_text };
        let key = ClientKey {
            public_key: new.public_key,
            valid_from: self.now,
            valid_until: None,
            client: id,
            sealed_preshared_key: master.seal(field, new.preshared_key.as_bytes()),
        };
        let mut client = Client {
            id,
            name: new.name,
            operator: new.operator,
            role: new.role,
            state: ClientState::Active,
            reason: None,
            expires: new.expires.map(whole_millis),
            created: self.now,
            addresses: Vec::new(),
            keys: vec![key],
            revision: self.revision,
        };
        client.addresses = write::insert_client(&mut self.tx, &client, ranges)
            .await
            .map_err(|e| e.explained_by(&self.db))?;
        self.record("client.add", client.name.as_str(), None, Some(&client))?;
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
        let client = self.find(name).await?;
        if client.state == ClientState::Revoked {
            return Ok(Applied { client, changed: false });
        }
        let now = self.now;
        self.update(name, "client.revoke", |client| {
            (client.state, client.reason) = (ClientState::Revoked, reason);
            for key in &mut client.keys {
                key.valid_until = Some(key.valid_until.map_or(now, |until| until.min(now)));
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
        let before = self.find(name).await?;
        if before.state == ClientState::Revoked {
            return Err(RegistryError::Revoked { name: before.name.to_string() });
        }
        let mut client = before.clone();
        edit(&mut client);
        if (before.state, before.expires) == (client.state, client.expires) {
            return Ok(Applied { client: before, changed: false });
        }
        client.revision = self.revision;
        write::update_client(&mut self.tx, &client).await.map_err(|e| self.db.explain(e))?;
        self.record(act, client.name.as_str(), Some(&before), Some(&client))?;
        Ok(Applied { client, changed: true })
    }

    async fn find(&mut self, name: &str) -> Result<Client, RegistryError> {
        let found = read::clients_within(&mut self.tx, Selection::Named(name)).await;
        match found.map_err(|e| e.explained_by(&self.db))?.pop() {
            Some(client) => Ok(client),
            None => Err(read::no_such_client(&self.db, name).await),
        }
    }

    pub(super) fn record<S: Serialize>(
        &mut self,
        act: &str,
        object: &str,
        before: Option<&Client>,
        after: Option<&S>,
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
fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
