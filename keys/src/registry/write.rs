//! A client into its rows. The caller holds the write lock and says which revision it is.

use std::net::IpAddr;

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::{Client, NewClient, RegistryError, Remark, address, names::name_key, read::ReadError};
use crate::ranges::TunnelRanges;

/// Names and keys are unique; asking first makes a better error than the database's refusal.
pub(super) async fn check_free(tx: &mut AnyConnection, new: &NewClient) -> Result<(), ReadError> {
    let key = new.public_key.to_string();
    let same_name = sqlx::query_scalar::<_, String>("SELECT name FROM registry_client WHERE name_key = $1")
        .bind(name_key(new.name.as_str()))
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(name) = same_name {
        return Err(RegistryError::NameTaken { name }.into());
    }
    let owner = sqlx::query_scalar::<_, String>(
        "SELECT c.name FROM registry_client c JOIN registry_client_key k ON k.client = c.id
         WHERE k.public_key = $1",
    )
    .bind(&key)
    .fetch_optional(&mut *tx)
    .await?;
    let fingerprint = new.public_key.fingerprint();
    if let Some(owner) = owner {
        return Err(RegistryError::KeyTaken { fingerprint, owner }.into());
    }
    let gateway = sqlx::query("SELECT id FROM registry_identity WHERE public_key = $1")
        .bind(&key)
        .fetch_optional(&mut *tx)
        .await?;
    if gateway.is_some() { Err(RegistryError::GatewayKey(fingerprint).into()) } else { Ok(()) }
}

/// Stores a new client, gives it addresses and returns them.
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
    for key in &client.keys {
        sqlx::query(
            "INSERT INTO registry_client_key (public_key, client, sealed_preshared_key, valid_from_ms, valid_until_ms)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(key.public_key.to_string())
        .bind(&id)
        .bind(key.sealed_preshared_key.as_str())
        .bind(key.valid_from.as_millisecond())
        .bind(key.valid_until.map(Timestamp::as_millisecond))
        .execute(&mut *tx)
        .await?;
    }
    address::assign(tx, ranges, &id).await
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
        sqlx::query("UPDATE registry_client_key SET valid_until_ms = $1 WHERE public_key = $2")
            .bind(key.valid_until.map(Timestamp::as_millisecond))
            .bind(key.public_key.to_string())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
