//! Clients from their rows. Nothing in a row is taken on trust: somebody may have edited the file.

use std::{collections::HashMap, net::IpAddr};

use jiff::Timestamp;
use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;
use vmsgate_audit::Database;

use super::{Client, ClientKey, RegistryError, Revision, names::name_key};
use crate::{material::PublicKey, seal::Sealed};

/// Which clients to read.
#[derive(Clone, Copy)]
pub(super) enum Selection<'a> {
    NewerThan(Revision),
    Named(&'a str),
    Id(Uuid),
}

pub(super) async fn revision(db: &Database) -> Result<Revision, RegistryError> {
    let sql = "SELECT revision FROM registry_revision WHERE id = 1";
    let number = sqlx::query_scalar(sql).fetch_one(db.pool()).await;
    Ok(Revision(number.map_err(|e| db.explain(e))?))
}

pub(super) async fn clients(db: &Database, selection: Selection<'_>) -> Result<Vec<Client>, RegistryError> {
    // One transaction, so that the three queries see one state.
    let mut tx = db.pool().begin().await.map_err(|e| db.explain(e))?;
    clients_within(&mut tx, selection).await.map_err(|e| e.explained_by(db))
}

/// Every key of every client, also those that ended long ago.
pub(super) async fn all_keys(db: &Database) -> Result<Vec<ClientKey>, RegistryError> {
    let sql = "SELECT client, public_key, sealed_preshared_key, valid_from_ms, valid_until_ms, heard_ms,
               revision AS added FROM registry_client_key";
    let rows = sqlx::query(sql).fetch_all(db.pool()).await.map_err(|e| db.explain(e))?;
    rows.iter().map(|row| key_from_row(row).map(|(_, key)| key)).collect()
}

/// Reads clients on a connection that may be in the middle of a change.
pub(super) async fn clients_within(
    connection: &mut AnyConnection,
    selection: Selection<'_>,
) -> Result<Vec<Client>, ReadError> {
    let [clients, keys, addresses] = match selection {
        Selection::NewerThan(_) => NEWER_THAN,
        Selection::Named(_) => NAMED,
        Selection::Id(_) => ID,
    };
    let mut keys_of: HashMap<String, Vec<ClientKey>> = HashMap::new();
    for row in fetch(connection, keys, selection).await? {
        let (client, key) = key_from_row(&row)?;
        keys_of.entry(client).or_default().push(key);
    }
    let mut addresses_of: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for row in fetch(connection, addresses, selection).await? {
        let (client, address) = (text(&row, "client")?, text(&row, "address")?);
        let parsed = address.parse().map_err(|_| malformed(&client, "address"))?;
        addresses_of.entry(client).or_default().push(parsed);
    }
    let rows = fetch(connection, clients, selection).await?;
    let read = |row: &AnyRow| {
        let mut client = client_from_row(row)?;
        let id = client.id.to_string();
        client.keys = keys_of.remove(&id).unwrap_or_default();
        client.addresses = addresses_of.remove(&id).unwrap_or_default();
        client.addresses.sort();
        Ok(client)
    };
    rows.iter().map(read).collect()
}

/// The error for a name that nobody has, with the name that was probably meant.
pub(super) async fn no_such_client(db: &Database, name: &str) -> RegistryError {
    let names =
        sqlx::query_scalar::<_, String>("SELECT name FROM registry_client").fetch_all(db.pool()).await;
    let names = names.unwrap_or_default();
    let nearest = vmsgate_config::nearest(name, names.iter().map(String::as_str)).map(ToOwned::to_owned);
    RegistryError::NoSuchClient { name: name.to_owned(), nearest }
}

/// A column of milliseconds: the outer `None` means unreadable, the inner one NULL.
pub(super) fn time(row: &AnyRow, column: &str) -> Option<Option<Timestamp>> {
    match row.try_get::<Option<i64>, _>(column).ok()? {
        Some(ms) => Timestamp::from_millisecond(ms).ok().map(Some),
        None => Some(None),
    }
}

/// An error before it is known which database it came from.
#[derive(Debug)]
pub(super) enum ReadError {
    Statement(sqlx::Error),
    Registry(RegistryError),
}

impl ReadError {
    pub(super) fn explained_by(self, db: &Database) -> RegistryError {
        match self {
            Self::Statement(error) => db.explain(error).into(),
            Self::Registry(error) => error,
        }
    }
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Statement(error)
    }
}

impl From<RegistryError> for ReadError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

macro_rules! selection {
    ($condition:literal) => {
        [
            concat!(
                "SELECT id, name, operator, role, state, reason, expires_ms, created_ms, revision ",
                "FROM registry_client c WHERE ",
                $condition
            ),
            // A client may change its keys as often as it likes, and its record has to stay a record: those that
            // ended long ago are left out.
            concat!(
                "SELECT client, public_key, sealed_preshared_key, valid_from_ms, valid_until_ms, heard_ms, added ",
                "FROM (SELECT k.client, k.public_key, k.sealed_preshared_key, k.valid_from_ms, k.valid_until_ms, ",
                "k.heard_ms, k.revision AS added, ROW_NUMBER() OVER (PARTITION BY k.client ORDER BY ",
                "COALESCE(k.valid_until_ms, 9223372036854775807) DESC, k.revision DESC) AS place ",
                "FROM registry_client_key k JOIN registry_client c ON c.id = k.client WHERE ",
                $condition,
                ") ranked WHERE place <= 8 ORDER BY added, valid_from_ms, public_key"
            ),
            concat!(
                "SELECT client, address ",
                "FROM registry_address a JOIN registry_client c ON c.id = a.client WHERE ",
                $condition
            ),
        ]
    };
}
const NEWER_THAN: [&str; 3] = selection!("c.revision > $1");
const NAMED: [&str; 3] = selection!("c.name_key = $1");
const ID: [&str; 3] = selection!("c.id = $1");

async fn fetch(
    connection: &mut AnyConnection,
    sql: &'static str,
    selection: Selection<'_>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let query = match selection {
        Selection::NewerThan(revision) => sqlx::query(sql).bind(revision.0),
        Selection::Named(name) => sqlx::query(sql).bind(name_key(name)),
        Selection::Id(id) => sqlx::query(sql).bind(id.to_string()),
    };
    query.fetch_all(connection).await
}

fn client_from_row(row: &AnyRow) -> Result<Client, RegistryError> {
    let id = text(row, "id")?;
    let broken = |field| malformed(&id, field);
    let reason: Option<String> = row.try_get("reason").map_err(|_| broken("reason"))?;
    Ok(Client {
        id: id.parse().map_err(|_| broken("id"))?,
        name: text(row, "name")?.parse().map_err(|_| broken("name"))?,
        operator: text(row, "operator")?.parse().map_err(|_| broken("operator"))?,
        role: text(row, "role")?,
        state: text(row, "state")?.parse().map_err(|()| broken("state"))?,
        reason: reason.as_deref().map(str::parse).transpose().map_err(|_| broken("reason"))?,
        expires: time(row, "expires_ms").ok_or_else(|| broken("expiry"))?,
        created: time(row, "created_ms").flatten().ok_or_else(|| broken("time of creation"))?,
        revision: Revision(row.try_get("revision").map_err(|_| broken("revision"))?),
        keys: Vec::new(),
        addresses: Vec::new(),
    })
}

fn key_from_row(row: &AnyRow) -> Result<(String, ClientKey), RegistryError> {
    let client = text(row, "client")?;
    let broken = |field| malformed(&client, field);
    let key = ClientKey {
        public_key: PublicKey::from_stored(&text(row, "public_key")?).map_err(|_| broken("public key"))?,
        valid_from: time(row, "valid_from_ms").flatten().ok_or_else(|| broken("begin of validity"))?,
        valid_until: time(row, "valid_until_ms").ok_or_else(|| broken("end of validity"))?,
        heard: time(row, "heard_ms").ok_or_else(|| broken("first use"))?,
        added: Revision(row.try_get("added").map_err(|_| broken("revision"))?),
        client: client.parse().map_err(|_| broken("id"))?,
        sealed_preshared_key: Sealed::from_stored(text(row, "sealed_preshared_key")?),
    };
    Ok((client, key))
}

fn text(row: &AnyRow, column: &'static str) -> Result<String, RegistryError> {
    row.try_get(column).map_err(|_| malformed("?", column))
}

fn malformed(client: &str, field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: format!("client {client}"), field }
}
