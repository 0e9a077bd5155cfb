//! The gateway's own key pairs.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;
use vmsgate_audit::{Database, WriteTransaction};

use super::{
    RegistryError, Revision,
    read::{ReadError, time},
};
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
    /// Since when another one is active.
    pub retiring_since: Option<Timestamp>,
    /// Until when it is planned to answer beside the new one. Nothing happens by itself then.
    pub overlap_ends: Option<Timestamp>,
    pub retired: Option<Timestamp>,
    #[serde(skip)]
    pub(super) sealed_private_key: Sealed,
}

/// Whether the gateway answers with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityState {
    /// It answers, and profiles name it.
    Active,
    /// It still answers; profiles name another.
    Retiring,
    /// It is silent for good, and its private key is gone.
    Retired,
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

    /// What records and people call it.
    pub(super) fn name(&self) -> String {
        self.public_key.fingerprint().to_string()
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
            retiring_since: None,
            overlap_ends: None,
            retired: None,
            sealed_private_key: master.seal(field, private.as_bytes()),
        }
    }
}

impl IdentityState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for IdentityState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Active, Self::Retiring, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// All identities: retired, retiring, active, and of each kind the oldest first.
pub(super) async fn load(db: &Database) -> Result<Vec<Identity>, RegistryError> {
    let mut connection = db.pool().acquire().await.map_err(|e| db.explain(e))?;
    load_within(&mut connection).await.map_err(|e| e.explained_by(db))
}

pub(super) async fn load_within(connection: &mut AnyConnection) -> Result<Vec<Identity>, ReadError> {
    let sql =
        "SELECT id, public_key, sealed_private_key, state, created_ms, retiring_since_ms, overlap_ends_ms,
               retired_ms FROM registry_identity ORDER BY created_ms, id";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    let mut identities = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    // The clock may have been set between a key pair and its successor.
    identities.sort_by_key(|identity| match identity.state {
        IdentityState::Retired => 0,
        IdentityState::Retiring => 1,
        IdentityState::Active => 2,
    });
    Ok(identities)
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

/// Stores what can change of an identity.
pub(super) async fn update(
    tx: &mut WriteTransaction,
    identity: &Identity,
    revision: Revision,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE registry_identity SET state = $1, sealed_private_key = $2, retiring_since_ms = $3,
         overlap_ends_ms = $4, retired_ms = $5, revision = $6 WHERE id = $7",
    )
    .bind(identity.state.as_str())
    .bind(identity.sealed_private_key.as_str())
    .bind(identity.retiring_since.map(Timestamp::as_millisecond))
    .bind(identity.overlap_ends.map(Timestamp::as_millisecond))
    .bind(identity.retired.map(Timestamp::as_millisecond))
    .bind(revision.0)
    .bind(identity.id.to_string())
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
        retiring_since: time(row, "retiring_since_ms").ok_or_else(|| broken("time of rotation"))?,
        overlap_ends: time(row, "overlap_ends_ms").ok_or_else(|| broken("end of overlap"))?,
        retired: time(row, "retired_ms").ok_or_else(|| broken("time of retirement"))?,
        sealed_private_key: Sealed::from_stored(text("sealed_private_key")?),
    })
}

fn malformed(id: &str, field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: format!("gateway identity {id}"), field }
}
