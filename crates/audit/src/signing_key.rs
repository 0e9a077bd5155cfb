//! The row that keeps the signing key. Its secret half is opaque here: the keystore's owner seals and opens it.

use sqlx::{AnyConnection, Row};

use crate::{
    db::{Database, WriteTransaction},
    signing::VerifyingKey,
    store::StoreError,
    time::UtcTime,
};

/// The signing key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSigningKey {
    pub public_key: VerifyingKey,
    pub sealed_private_key: String,
    pub created: UtcTime,
}

/// The signing key of this database; none in one that an older version made.
pub async fn signing_key(db: &Database) -> Result<Option<StoredSigningKey>, StoreError> {
    let mut connection = db.pool().acquire().await.map_err(|e| db.explain(e))?;
    load(&mut connection).await
}

/// Stores the key unless there is one, within the caller's transaction. Says whether it was stored.
pub async fn store_signing_key(
    tx: &mut WriteTransaction,
    key: &StoredSigningKey,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO audit_key (id, public_key, sealed_private_key, created_ms) VALUES (1, $1, $2, $3)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(key.public_key.to_string())
    .bind(key.sealed_private_key.as_str())
    .bind(key.created.unix_ms())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) async fn load(connection: &mut AnyConnection) -> Result<Option<StoredSigningKey>, StoreError> {
    let sql = "SELECT public_key, sealed_private_key, created_ms FROM audit_key WHERE id = 1";
    let Some(row) = sqlx::query(sql).fetch_optional(connection).await? else { return Ok(None) };
    let public_key: String = row.try_get("public_key")?;
    Ok(Some(StoredSigningKey {
        public_key: public_key.parse().map_err(|_| StoreError::MalformedKey)?,
        sealed_private_key: row.try_get("sealed_private_key")?,
        created: UtcTime::from_unix_ms(row.try_get("created_ms")?),
    }))
}
