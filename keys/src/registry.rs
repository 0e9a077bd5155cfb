//! The registry: clients with their keys and addresses, and the identities of the gateway.
//!
//! Reading is here, changing is in [`Change`]. SQL suits SQLite and PostgreSQL (see [`vmsgate_audit::db`]).
//!
//! Every change raises the one [`Revision`] of the registry and stamps the rows it touched with it. Changes take
//! turns, so a reader that knows revision *n* has seen everything up to *n* and finds the rest by asking for rows
//! with a greater number.

mod address;
mod audit_key;
mod backup_record;
mod change;
mod client;
pub(crate) mod dump;
mod error;
mod holdings;
mod identity;
mod invitation;
mod invite;
mod names;
mod presence;
mod read;
mod rotate_client;
mod rotate_gateway;
mod settings;
mod write;

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use vmsgate_audit::{Create, Database};

pub(crate) use backup_record::Restoration;
pub(crate) use change::whole_millis;
pub use change::{Applied, Change};
pub use client::{Client, ClientKey, ClientState, NewClient, Standing};
pub use error::RegistryError;
pub use holdings::Holdings;
pub use identity::{Identity, IdentityState};
pub use invitation::{Invitation, Used};
pub use invite::Invitee;
pub use names::{ClientName, NameError, Operator, Remark};
pub use presence::{Cut, GatewayBeat, HEARTBEAT_LIMIT, Presence, Seen};
pub use settings::Settings;

/// How many changes the registry has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub(crate) i64);

impl Revision {
    /// Before the first change: everything is new since then.
    pub const NONE: Revision = Revision(0);
}

/// How long an invitation that ended is still told from one that never was.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is new since some revision.
#[derive(Clone, Debug)]
pub struct Changes {
    /// What to ask with next time.
    pub revision: Revision,
    /// The clients that were added or changed, as they are now.
    pub clients: Vec<Client>,
    /// The invitations that were made or changed, as they are now.
    pub invitations: Vec<Invitation>,
    /// Whether [`Registry::identities`] would answer differently.
    pub identities_changed: bool,
}

/// The registry of one installation. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    db: Database,
}

impl Registry {
    /// Opens the registry in an existing database and brings its tables up to date.
    pub async fn open(database: &Path) -> Result<Self, RegistryError> {
        Self::within(Database::open(database, Create::No).await?).await
    }

    /// Opens the registry as it is, for reading: nothing is brought up to date.
    pub async fn open_read_only(database: &Path) -> Result<Self, RegistryError> {
        Ok(Self { db: Database::open_read_only(database).await? })
    }

    /// Uses a database that is open already, for the audit log perhaps.
    pub async fn within(db: Database) -> Result<Self, RegistryError> {
        Ok(Self { db: db.migrated("registry", sqlx::migrate!()).await? })
    }

    pub fn database(&self) -> &Database {
        &self.db
    }

    /// How far the registry is. One small query.
    pub async fn revision(&self) -> Result<Revision, RegistryError> {
        read::revision(&self.db).await
    }

    /// What was said at `init`.
    ///
    /// # Errors
    /// [`RegistryError::NotInitialised`] while nothing was said.
    pub async fn settings(&self) -> Result<Settings, RegistryError> {
        settings::load(&self.db).await
    }

    /// The key pairs that the gateway answers with; the last is the active one, which profiles name.
    pub async fn identities(&self) -> Result<Vec<Identity>, RegistryError> {
        let mut identities = self.all_identities().await?;
        identities.retain(|identity| identity.state != IdentityState::Retired);
        Ok(identities)
    }

    /// Those, and before them the retired ones.
    pub async fn all_identities(&self) -> Result<Vec<Identity>, RegistryError> {
        identity::load(&self.db).await
    }

    /// Invitations that are open or used, and those that ended in the last days: what is tried after that gets no
    /// answer.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, RegistryError> {
        let since = Timestamp::now().checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        invitation::load(&self.db, invitation::Selection::EndingAfter(since)).await
    }

    /// All clients by name, including suspended and revoked ones.
    pub async fn clients(&self) -> Result<Vec<Client>, RegistryError> {
        let mut clients = read::clients(&self.db, read::Selection::NewerThan(Revision::default())).await?;
        clients.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(clients)
    }

    /// The client with this name; letter case does not matter.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchClient`] names the client that was probably meant.
    pub async fn client(&self, name: &str) -> Result<Client, RegistryError> {
        let found = read::clients(&self.db, read::Selection::Named(name)).await?.pop();
        match found {
            Some(client) => Ok(client),
            None => Err(read::no_such_client(&self.db, name).await),
        }
    }

    /// What changed after `known`. Without changes it costs one small query.
    pub async fn changes_since(&self, known: Revision) -> Result<Changes, RegistryError> {
        // First the revision: what changes between the two queries is reported again next time, never missed.
        let revision = self.revision().await?;
        if revision <= known {
            return Ok(Changes {
                revision,
                clients: Vec::new(),
                invitations: Vec::new(),
                identities_changed: false,
            });
        }
        Ok(Changes {
            revision,
            clients: read::clients(&self.db, read::Selection::NewerThan(known)).await?,
            invitations: invitation::load(&self.db, invitation::Selection::NewerThan(known)).await?,
            identities_changed: identity::any_newer_than(&self.db, known).await?,
        })
    }

    /// Begins a change, waiting for others that are under way (10 s at most).
    pub async fn change(&self, actor: &crate::Actor) -> Result<Change, RegistryError> {
        Change::begin(&self.db, actor).await
    }

    /// What a change overwrote is nowhere in the database's files after this.
    pub async fn forget_overwritten(&self) -> Result<(), RegistryError> {
        Ok(self.db.forget_overwritten().await?)
    }

    /// Waits until every connection is closed; `vmsgate.db` is then complete without the files beside it, unless
    /// another process has it open.
    pub async fn close(self) {
        self.db.close().await;
    }
}
