//! The gateway's own key pairs.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row, any::AnyRow};
use uuid::Uuid;
use vmsgate_audit::{Database, WriteTransaction};

use super::{RegistryError, Revision, read::time};
use crate::{
    material::{PrivateKey, PublicKey},
    seal::{MasterKey, Sealed, SealedField},
};

/// One static key pair of the gateway. Serialises without secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    pub id: Uuid,
    pub public_key: PublicKey,
    pub state: IdentityState,
    pub created: Timestamp,
    #[serde(skip)]
    sealed_private_key: Sealed,
}

/// Whether the gateway answers with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityState {
    Active,
}

impl Identity {
    /// # Errors
    /// [`RegistryError::Unseal`] when the row was altered or another keystore sealed it,
    /// [`RegistryError::Malformed`] when its public key is not that of the private one.
    pub fn private_key(&self, master: &MasterKey) -> Result<PrivateKey, RegistryError> {
        let id = self.id.to_string();
        let field = SealedField::IdentityPrivateKey { identity: &id };
        let secret = master.unseal(field, &self.sealed_private_key).map_err(|source| {
            let what = format!("the private key of gateway identity {}", self.public_key.fingerprint());
            RegistryError::Unseal { what, source }
        })?;
        let private = PrivateKey::from_bytes(*secret);
        if private.public_key() == self.public_key { Ok(private) } else { Err(malformed(&id, "public key")) }
    }

    /// A new key pair.
    pub(super) fn generate(master: &MasterKey, now: Timestamp) -> Self {
        let id = Uuid::now_v7();
        let private = PrivateKey::generate();
        let field = SealedField::IdentityPrivateKey { identity: &id.to_string() };
        Self {
            id,
            public_key: private.public_key(),
            state: IdentityState::Active,
            created: now,
            sealed_private_key: master.seal(field, private.as_bytes()),
        }
    }
}

impl IdentityState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
        }
    }
}

impl FromStr for IdentityState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == Self::Active.as_str() { Ok(Self::Active) } else { Err(()) }
    }
}

pub(super) async fn load(db: &Database) -> Result<Vec<Identity>, RegistryError> {
    let sql = "SELECT id, public_key, sealed_private_key, state, created_ms FROM registry_identity
               ORDER BY created_ms, id";
    let rows = sqlx::query(sql).fetch_all(db.pool()).await.map_err(|e| db.explain(e))?;
    rows.iter().map(from_row).collect()
}

pub(super) async fn any_newer_than(db: &Database, known: Revision) -> Result<bool, RegistryError> {
    let sql = "SELECT COUNT(*) FROM registry_identity WHERE revision > $1";
    let count = sqlx::query_scalar::<_, i64>(sql).bind(known.0).fetch_one(db.pool()).await;
    Ok(count.map_err(|e| db.explain(e))? > 0)
}

pub(super) async fn insert(
    tx: &mut WriteTransaction,
    identity: &Identity,
    revision: Revision,
) -> Result<(), sqlx::Error> {
    let sql =
        "INSERT INTO registry_identity (id, public_key, sealed_private_key, state, created_ms, revision)
               VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(identity.id.to_string())
        .bind(identity.public_key.to_string())
        .bind(identity.sealed_private_key.as_str())
        .bind(identity.state.as_str())
        .bind(identity.created.as_millisecond())
        .bind(revision.0)
        .execute(&mut **tx)
        .await
        .map(drop)
}

fn from_row(row: &AnyRow) -> Result<Identity, RegistryError> {
    let text = |column: &'static str| row.try_get::<String, _>(column).map_err(|_| malformed("?", column));
    let id = text("id")?;
    let broken = |field| malformed(&id, field);
    Ok(Identity {
        id: id.parse().map_err(|_| broken("id"))?,
        public_key: text("public_key")?.parse().map_err(|_| broken("public key"))?,
        state: text("state")?.parse().map_err(|()| broken("state"))?,
        created: time(row, "created_ms").flatten().ok_or_else(|| broken("time of creation"))?,
        sealed_private_key: Sealed::from_stored(text("sealed_private_key")?),
    })
}

fn malformed(id: &str, field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: format!("gateway identity {id}"), field }
}
