//! A client into its rows. The caller holds the write lock and says which revision it is.

use std::net::IpAddr;

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::{Client, ClientKey, RegistryError, Remark, address, names::name_key, read::ReadError};
use crate::{material::PublicKey, ranges::TunnelRanges};

/// Names are unique; asking first makes a better error than the database's refusal.
pub(super) async fn check_name_free(tx: &mut AnyConnection, name: &str) -> Result<(), ReadError> {
    let same_name = sqlx::query_scalar::<_, String>("SELECT name FROM registry_client WHERE name_key = $1")
        .bind(name_key(name))
        .fetch_optional(tx)
        .await?;
    match same_name {
        Some(name) => Err(RegistryError::NameTaken { name }.into()),
        None => Ok(()),
    }
}

/// A key belongs to one client, one invitation or the gateway, for all time.
pub(super) async fn check_key_free(tx: &mut AnyConnection, public_key: &PublicKey) -> Result<(), ReadError> {
    let key = public_key.to_string();
    let owner = sqlx::query_scalar::<_, String>(
        "SELECT c.name FROM registry_client c JOIN registry_client_key k ON k.client = c.id
         WHERE k.public_key = $1
         UNION ALL
         SELECT c.name FROM registry_client c JOIN registry_invitation i ON i.client = c.id
         WHERE i.public_key = $1",
    )
    .bind(&key)
    .fetch_optional(&mut *tx)
    .await?;
    let fingerprint = public_key.fingerprint();
    if let Some(owner) = owner {
        return Err(RegistryError::KeyTaken { fingerprint, owner }.into());
    }
    let gateway = sqlx::query("SELECT id FROM registry_identity WHERE public_key = $1")
        .bind(&key)
        .fetch_optional(&mut *tx)
        .await?;
    if gateway.is_some() { Err(RegistryError::GatewayKey(fingerprint).into()) } else { Ok(()) }
}

/// Stores a new client without its keys, gives it addresses and returns them.
pub(super) async fn insert_client(
    tx: &mut AnyConnection,
    client: &Client,
    ranges: &TunnelRanges,
) -> Result<Vec<IpAddr>, ReadError> {
    let id = client.id.to_string();
    sqlx::query(
        "INSERT INTO registry_client
         (id, name, name_key, operator, role, state, reason, expires_ms, created_ms, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&id)
    .bind(client.name.as_str())
    .bind(name_key(client.name.as_str()))
    .bind(client.operator.as_str())
    .bind(client.role.as_str())
    .bind(client.state.as_str())
    .bind(client.reason.as_ref().map(Remark::as_str))
    .bind(client.expires.map(Timestamp::as_millisecond))
    .bind(client.created.as_millisecond())
    .bind(client.revision.0)
    .execute(&mut *tx)
    .await?;
    address::assign(tx, ranges, &id).await
}

pub(super) async fn insert_key(tx: &mut AnyConnection, key: &ClientKey) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO registry_client_key
         (public_key, client, sealed_preshared_key, valid_from_ms, valid_until_ms, heard_ms, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key.public_key.to_string())
    .bind(key.client.to_string())
    .bind(key.sealed_preshared_key.as_str())
    .bind(key.valid_from.as_millisecond())
    .bind(key.valid_until.map(Timestamp::as_millisecond))
    .bind(key.heard.map(Timestamp::as_millisecond))
    .bind(key.added.0)
    .execute(tx)
    .await
    .map(drop)
}

/// Stores what can change of a client.
pub(super) async fn update_client(tx: &mut AnyConnection, client: &Client) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE registry_client SET state = $1, reason = $2, expires_ms = $3, revision = $4 WHERE id = $5",
    )
    .bind(client.state.as_str())
    .bind(client.reason.as_ref().map(Remark::as_str))
    .bind(client.expires.map(Timestamp::as_millisecond))
    .bind(client.revision.0)
    .bind(client.id.to_string())
    .execute(&mut *tx)
    .await?;
    for key in &client.keys {
        sqlx::query(
            "UPDATE registry_client_key SET valid_until_ms = $1, heard_ms = $2, sealed_preshared_key = $3
             WHERE public_key = $4",
        )
        .bind(key.valid_until.map(Timestamp::as_millisecond))
        .bind(key.heard.map(Timestamp::as_millisecond))
        .bind(key.sealed_preshared_key.as_str())
        .bind(key.public_key.to_string())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
