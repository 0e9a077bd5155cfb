//! Invitations: a client that may enrol one device.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;
use vmsgate_audit::Database;

use super::{
    ClientName, Operator, RegistryError, Revision,
    read::{ReadError, time},
};
use crate::{
    material::{PresharedKey, PublicKey},
    seal::{MasterKey, Sealed, SealedField},
};

/// What a token stands for. Serialises without secrets; the token itself is stored nowhere.
#[derive(Clone, Debug, Serialize)]
pub struct Invitation {
    pub id: Uuid,
    #[serde(skip)]
    pub client: Uuid,
    #[serde(skip)]
    pub client_name: ClientName,
    #[serde(skip)]
    pub operator: Operator,
    /// The temporary key.
    pub public_key: PublicKey,
    pub created: Timestamp,
    /// Also when a newer invitation, or the end of the client, took its place.
    pub expires: Timestamp,
    pub used: Option<Used>,
    /// When somebody else tried the token after that, for the first time: it leaked.
    pub reused: Option<Timestamp>,
    #[serde(skip)]
    pub(super) sealed_preshared_key: Sealed,
}

/// The device that an invitation let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    pub at: Timestamp,
    pub public_key: PublicKey,
}

impl Invitation {
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.used.is_none() && now < self.expires
    }

    /// # Errors
    /// [`RegistryError::Unseal`] when the row was altered or another keystore sealed it.
    pub fn preshared_key(&self, master: &MasterKey) -> Result<PresharedKey, RegistryError> {
        let (id, public_key) = (self.id.to_string(), self.public_key.to_string());
        let field = SealedField::InvitationPresharedKey { invitation: &id, public_key: &public_key };
        let secret = master.unseal(field, &self.sealed_preshared_key).map_err(|source| {
            let what = format!("the pre-shared key of the invitation of client `{}`", self.client_name);
            RegistryError::Unseal { what, source }
        })?;
        Ok(PresharedKey::from_bytes(*secret))
    }
}

/// Which invitations to read.
#[derive(Clone, Copy)]
pub(super) enum Selection {
    NewerThan(Revision),
    /// Those that end after this time.
    EndingAfter(Timestamp),
    OpenOf(Uuid),
    Id(Uuid),
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT i.id, i.client, i.public_key, i.sealed_preshared_key, i.created_ms, i.expires_ms, i.used_ms, ",
            "i.used_key, i.reused_ms, c.name, c.operator ",
            "FROM registry_invitation i JOIN registry_client c ON c.id = i.client WHERE ",
            $condition,
            " ORDER BY i.created_ms, i.id"
        )
    };
}

pub(super) async fn load(db: &Database, selection: Selection) -> Result<Vec<Invitation>, RegistryError> {
    let mut connection = db.pool().acquire().await.map_err(|e| db.explain(e))?;
    load_within(&mut connection, selection).await.map_err(|e| e.explained_by(db))
}

pub(super) async fn load_within(
    connection: &mut AnyConnection,
    selection: Selection,
) -> Result<Vec<Invitation>, ReadError> {
    let query = match selection {
        Selection::NewerThan(revision) => sqlx::query(select!("i.revision > $1")).bind(revision.0),
        Selection::EndingAfter(time) => sqlx::query(select!("i.expires_ms > $1")).bind(time.as_millisecond()),
        Selection::OpenOf(client) => {
            sqlx::query(select!("i.client = $1 AND i.used_ms IS NULL")).bind(client.to_string())
        }
        Selection::Id(id) => sqlx::query(select!("i.id = $1")).bind(id.to_string()),
    };
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

pub(super) async fn insert(
    tx: &mut AnyConnection,
    invitation: &Invitation,
    revision: Revision,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO registry_invitation
         (id, client, public_key, sealed_preshared_key, created_ms, expires_ms, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(invitation.id.to_string())
    .bind(invitation.client.to_string())
    .bind(invitation.public_key.to_string())
    .bind(invitation.sealed_preshared_key.as_str())
    .bind(invitation.created.as_millisecond())
    .bind(invitation.expires.as_millisecond())
    .bind(revision.0)
    .execute(tx)
    .await
    .map(drop)
}

/// Stores what can change of an invitation.
pub(super) async fn update(
    tx: &mut AnyConnection,
    invitation: &Invitation,
    revision: Revision,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE registry_invitation
         SET expires_ms = $1, used_ms = $2, used_key = $3, reused_ms = $4, revision = $5 WHERE id = $6",
    )
    .bind(invitation.expires.as_millisecond())
    .bind(invitation.used.map(|used| used.at.as_millisecond()))
    .bind(invitation.used.map(|used| used.public_key.to_string()))
    .bind(invitation.reused.map(Timestamp::as_millisecond))
    .bind(revision.0)
    .bind(invitation.id.to_string())
    .execute(tx)
    .await
    .map(drop)
}

fn from_row(row: &AnyRow) -> Result<Invitation, RegistryError> {
    let text = |column: &'static str| row.try_get::<String, _>(column).map_err(|_| malformed("?", column));
    let id = text("id")?;
    let broken = |field| malformed(&id, field);
    let moment = |column: &'static str| time(row, column).flatten().ok_or_else(|| broken(column));
    let used_key: Option<String> = row.try_get("used_key").map_err(|_| broken("key of the device"))?;
    let used = match (time(row, "used_ms").ok_or_else(|| broken("time of use"))?, used_key) {
        (None, None) => None,
        (Some(at), Some(key)) => {
            let public_key = PublicKey::from_stored(&key).map_err(|_| broken("key of the device"))?;
            Some(Used { at, public_key })
        }
        _ => return Err(broken("time of use")),
    };
    Ok(Invitation {
        id: id.parse().map_err(|_| broken("id"))?,
        client: text("client")?.parse().map_err(|_| broken("client"))?,
        client_name: text("name")?.parse().map_err(|_| broken("name"))?,
        operator: text("operator")?.parse().map_err(|_| broken("operator"))?,
        public_key: PublicKey::from_stored(&text("public_key")?).map_err(|_| broken("public key"))?,
        created: moment("created_ms")?,
        expires: moment("expires_ms")?,
        used,
        reused: time(row, "reused_ms").ok_or_else(|| broken("time of the second use"))?,
        sealed_preshared_key: Sealed::from_stored(text("sealed_preshared_key")?),
    })
}

fn malformed(id: &str, field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: format!("invitation {id}"), field }
}
