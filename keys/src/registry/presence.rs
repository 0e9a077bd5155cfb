//! What gateways saw: who was heard when, which gateways run, and how a revoked client was cut off.
//!
//! None of it is on record and none raises the revision: it changes all the time, and must wake up nobody. Each call
//! is one small transaction.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use super::{
    Registry, RegistryError, Revision,
    read::{ReadError, time},
};
use crate::material::PublicKey;

/// How a client was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    #[serde(skip)]
    pub client: Uuid,
    /// The client's key.
    pub key: PublicKey,
    /// The gateway's key that the client used.
    pub identity: PublicKey,
    pub last_seen: Timestamp,
    /// Whether the session was under a pre-shared key agreed with ML-KEM.
    pub post_quantum: bool,
}

/// A [`Presence`] and the gateway that reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub gateway: String,
    #[serde(flatten)]
    pub presence: Presence,
}

/// The last sign of life of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayBeat {
    pub name: String,
    /// What it has applied.
    pub revision: Revision,
    pub seen: Timestamp,
    /// Whether that was just now.
    pub running: bool,
}

/// What a gateway did to a client whose access ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub gateway: String,
    pub client: Uuid,
    /// The client's revision that ended it.
    pub revision: Revision,
    /// When nothing more could pass.
    pub applied: Timestamp,
    /// When the last packet of the client was forwarded; none if it had no session.
    pub last_forwarded: Option<Timestamp>,
    pub flows: u64,
    pub sessions: u64,
}

/// A gateway that was not heard for this long is taken for gone.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(15);

impl Registry {
    /// Remembers how clients were last heard. What another gateway saw later stays.
    pub async fn report_presence(&self, gateway: &str, seen: &[Presence]) -> Result<(), RegistryError> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin_write().await?;
        for presence in seen {
            sqlx::query(
                "INSERT INTO registry_presence (client, gateway, public_key, identity, last_seen_ms, post_quantum)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (client) DO UPDATE SET gateway = excluded.gateway, public_key = excluded.public_key,
                     identity = excluded.identity, last_seen_ms = excluded.last_seen_ms,
                     post_quantum = excluded.post_quantum
                 WHERE excluded.last_seen_ms >= registry_presence.last_seen_ms",
            )
            .bind(presence.client.to_string())
            .bind(gateway)
            .bind(presence.key.to_string())
            .bind(presence.identity.to_string())
            .bind(presence.last_seen.as_millisecond())
            .bind(i64::from(presence.post_quantum))
            .execute(&mut *tx)
            .await
            .map_err(|e| self.db.explain(e))?;
        }
        Ok(self.db.commit(tx).await?)
    }

    /// How each client was last heard; clients that never were are not in it.
    pub async fn presence(&self) -> Result<Vec<Seen>, RegistryError> {
        let mut connection = self.db.pool().acquire().await.map_err(|e| self.db.explain(e))?;
        load_within(&mut connection).await.map_err(|e| e.explained_by(&self.db))
    }

    /// A gateway's sign of life, every few seconds, with the revision that it has applied.
    pub async fn heartbeat(
        &self,
        gateway: &str,
        revision: Revision,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let beat = sqlx::query(
            "INSERT INTO registry_gateway (name, revision, seen_ms) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, seen_ms = excluded.seen_ms",
        );
        let beat = beat.bind(gateway).bind(revision.0).bind(now.as_millisecond());
        beat.execute(self.db.pool()).await.map(drop).map_err(|e| self.db.explain(e).into())
    }

    /// A gateway that stops in order is not waited for.
    pub async fn stopped(&self, gateway: &str) -> Result<(), RegistryError> {
        let gone = sqlx::query("DELETE FROM registry_gateway WHERE name = $1").bind(gateway);
        gone.execute(self.db.pool()).await.map(drop).map_err(|e| self.db.explain(e).into())
    }

    /// The gateways that did not stop in order, by name.
    pub async fn gateways(&self, now: Timestamp) -> Result<Vec<GatewayBeat>, RegistryError> {
        let sql = "SELECT name, revision, seen_ms FROM registry_gateway ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(self.db.pool()).await.map_err(|e| self.db.explain(e))?;
        rows.iter().map(|row| beat_from_row(row, now)).collect()
    }

    /// A gateway has cut a client off.
    pub async fn report_cut(&self, cut: &Cut) -> Result<(), RegistryError> {
        sqlx::query(
            "INSERT INTO registry_cut (gateway, client, revision, applied_ms, last_forwarded_ms, flows, sessions)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (gateway, client, revision) DO NOTHING",
        )
        .bind(&cut.gateway)
        .bind(cut.client.to_string())
        .bind(cut.revision.0)
        .bind(cut.applied.as_millisecond())
        .bind(cut.last_forwarded.map(Timestamp::as_millisecond))
        .bind(i64::try_from(cut.flows).unwrap_or(i64::MAX))
        .bind(i64::try_from(cut.sessions).unwrap_or(i64::MAX))
        .execute(self.db.pool())
        .await
        .map(drop)
        .map_err(|e| self.db.explain(e).into())
    }

    /// Which gateways have cut a client off for this revision of it, by name.
    pub async fn cuts(&self, client: Uuid, revision: Revision) -> Result<Vec<Cut>, RegistryError> {
        let sql = "SELECT gateway, applied_ms, last_forwarded_ms, flows, sessions FROM registry_cut
                   WHERE client = $1 AND revision = $2 ORDER BY gateway";
        let rows = sqlx::query(sql).bind(client.to_string()).bind(revision.0).fetch_all(self.db.pool()).await;
        let rows = rows.map_err(|e| self.db.explain(e))?;
        rows.iter().map(|row| cut_from_row(row, client, revision)).collect()
    }
}

pub(super) async fn load_within(connection: &mut AnyConnection) -> Result<Vec<Seen>, ReadError> {
    let sql =
        "SELECT client, gateway, public_key, identity, last_seen_ms, post_quantum FROM registry_presence";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    Ok(rows.iter().map(seen_from_row).collect::<Result<_, _>>()?)
}

fn seen_from_row(row: &AnyRow) -> Result<Seen, RegistryError> {
    let text = |column| row.try_get::<String, _>(column).map_err(|_| malformed(column));
    let key = |column| PublicKey::from_stored(&text(column)?).map_err(|_| malformed(column));
    Ok(Seen {
        gateway: text("gateway")?,
        presence: Presence {
            client: text("client")?.parse().map_err(|_| malformed("client"))?,
            key: key("public_key")?,
            identity: key("identity")?,
            last_seen: moment(row, "last_seen_ms")?,
            post_quantum: row.try_get::<i64, _>("post_quantum").map_err(|_| malformed("post_quantum"))? != 0,
        },
    })
}

fn beat_from_row(row: &AnyRow, now: Timestamp) -> Result<GatewayBeat, RegistryError> {
    let seen = moment(row, "seen_ms")?;
    let limit = SignedDuration::try_from(HEARTBEAT_LIMIT).unwrap_or(SignedDuration::MAX);
    Ok(GatewayBeat {
        name: row.try_get("name").map_err(|_| malformed("name"))?,
        revision: Revision(row.try_get("revision").map_err(|_| malformed("revision"))?),
        seen,
        running: now.duration_since(seen) < limit,
    })
}

fn cut_from_row(row: &AnyRow, client: Uuid, revision: Revision) -> Result<Cut, RegistryError> {
    let count = |column| {
        let number = row.try_get::<i64, _>(column).map_err(|_| malformed(column))?;
        u64::try_from(number).map_err(|_| malformed(column))
    };
    Ok(Cut {
        gateway: row.try_get("gateway").map_err(|_| malformed("gateway"))?,
        client,
        revision,
        applied: moment(row, "applied_ms")?,
        last_forwarded: time(row, "last_forwarded_ms").ok_or_else(|| malformed("last_forwarded_ms"))?,
        flows: count("flows")?,
        sessions: count("sessions")?,
    })
}

fn moment(row: &AnyRow, column: &'static str) -> Result<Timestamp, RegistryError> {
    time(row, column).flatten().ok_or_else(|| malformed(column))
}

fn malformed(field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: "a gateway's report".to_owned(), field }
}
