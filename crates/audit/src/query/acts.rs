use crate::{chain::Chain, db::Database, store::StoreError, time::UtcTime};

/// When an administrative act, e.g. `audit.checkpoint`, was last recorded.
pub async fn last_act(db: &Database, act: &str) -> Result<Option<UtcTime>, StoreError> {
    let newest = sqlx::query_scalar::<_, Option<i64>>(
        "SELECT MAX(time_ms) FROM audit_record WHERE chain = $1 AND kind = $2",
    )
    .bind(Chain::admin().as_str().to_owned())
    .bind(format!("admin.{act}"))
    .fetch_one(db.pool())
    .await
    .map_err(|e| db.explain(e))?;
    Ok(newest.map(UtcTime::from_unix_ms))
}
