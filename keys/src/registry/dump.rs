//! The registry as plain rows, for a backup: read in one transaction, written into an empty database.
//!
//! Rows, and not a copy of the file: the audit log lies in the same file and may be gigabytes, and rows suit any
//! database. A table is filled as the migration knew it that the rows come from; the later ones are then applied to it,
//! as they would be to an old database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Column, Row, ValueRef, any::AnyRow, migrate::Migrator};
use vmsgate_audit::{
    Database, StoredSigningKey, UtcTime, signing_key, store_signing_key, verify::newest_checkpoints,
};

use super::{Registry, RegistryError};

/// What is dumped; a table comes after those that its rows refer to. How gateways that run now are (`registry_gateway`)
/// and how they cut off clients (`registry_cut`) means nothing later.
const TABLES: [&str; 9] = [
    "registry_revision",
    "registry_setting",
    "registry_identity",
    "registry_client",
    "registry_client_key",
    "registry_address",
    "registry_range",
    "registry_invitation",
    "registry_presence",
];

/// Every row that makes an installation what it is. Its secrets are sealed, as they are in the database.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dump {
    /// The newest migration of the registry's tables.
    migration: i64,
    tables: BTreeMap<String, Rows>,
    audit_key: Option<AuditKey>,
    /// The newest signed checkpoint of each chain of the audit log, which is not in here itself.
    pub(crate) checkpoints: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// The tables have columns of these two types only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditKey {
    public_key: String,
    sealed_private_key: String,
    created_ms: i64,
}

impl Dump {
    /// Whether a later version of the program made it, whose tables this one does not know.
    pub(crate) fn is_newer(&self) -> bool {
        migrations().iter().all(|known| known.version < self.migration)
    }
}

impl Registry {
    /// Everything as it is at one moment, also while others change it.
    pub(crate) async fn dump(&self) -> Result<Dump, RegistryError> {
        // Neither of them changes with the registry; a checkpoint of a moment ago is as good.
        let audit_key = signing_key(&self.db).await?.map(AuditKey::from);
        let checkpoints = newest_checkpoints(&self.db).await?.iter().map(ToString::to_string).collect();
        let mut tx = self.db.pool().begin().await.map_err(|e| self.db.explain(e))?;
        let sql = "SELECT MAX(version) FROM _migrations_registry";
        let migration = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.map_err(|e| self.db.explain(e))?;
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let sql = AssertSqlSafe(format!("SELECT * FROM {table}"));
            let rows = sqlx::query(sql).fetch_all(&mut *tx).await.and_then(|rows| Rows::of(&rows));
            tables.insert(table.to_owned(), rows.map_err(|e| self.db.explain(e))?);
        }
        Ok(Dump { migration, tables, audit_key, checkpoints })
    }

    /// The registry that was dumped, with its tables up to date, in an empty database.
    pub(crate) async fn load(db: Database, dump: &Dump) -> Result<Self, RegistryError> {
        let mut then = migrations();
        then.migrations.to_mut().retain(|known| known.version <= dump.migration);
        db.migrate("registry", then).await?;
        let mut tx = db.begin_write().await?;
        if let Some(unknown) = dump.tables.keys().find(|name| !TABLES.contains(&name.as_str())) {
            return Err(malformed(unknown, "name"));
        }
        for table in TABLES {
            let Some(rows) = dump.tables.get(table) else { continue };
            if !rows.columns.iter().all(|name| is_identifier(name)) {
                return Err(malformed(table, "column"));
            }
            // What a migration put there.
            let sql = AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::query(sql).execute(&mut *tx).await.map_err(|e| db.explain(e))?;
            for row in &rows.rows {
                let query = rows.insert(table, row).ok_or_else(|| malformed(table, "row"))?;
                query.execute(&mut *tx).await.map_err(|e| db.explain(e))?;
            }
        }
        if let Some(key) = &dump.audit_key {
            store_signing_key(&mut tx, &key.stored()?).await?;
        }
        db.commit(tx).await?;
        Self::within(db).await
    }
}

impl Rows {
    fn of(rows: &[AnyRow]) -> Result<Self, sqlx::Error> {
        let Some(first) = rows.first() else { return Ok(Self::default()) };
        let columns: Vec<String> = first.columns().iter().map(|column| column.name().to_owned()).collect();
        let cells = |row: &AnyRow| (0..columns.len()).map(|index| Cell::of(row, index)).collect();
        let rows = rows.iter().map(cells).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// None for a row that has more or fewer cells than there are columns.
    fn insert<'q>(
        &self,
        table: &str,
        row: &'q [Cell],
    ) -> Option<sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>> {
        if row.len() != self.columns.len() {
            return None;
        }
        let mut bound = 0;
        let values = row.iter().map(|cell| match cell {
            // A bound NULL would have a type, and PostgreSQL refuses the wrong one.
            Cell::Null => "NULL".to_owned(),
            Cell::Number(_) | Cell::Text(_) => {
                bound += 1;
                format!("${bound}")
            }
        });
        let values: Vec<String> = values.collect();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", self.columns.join(", "), values.join(", "));
        let bind = |query: sqlx::query::Query<'q, _, _>, cell: &'q Cell| match cell {
            Cell::Null => query,
            Cell::Number(number) => query.bind(*number),
            Cell::Text(text) => query.bind(text.as_str()),
        };
        Some(row.iter().fold(sqlx::query(AssertSqlSafe(sql)), bind))
    }
}

impl Cell {
    fn of(row: &AnyRow, index: usize) -> Result<Self, sqlx::Error> {
        if row.try_get_raw(index)?.is_null() {
            return Ok(Self::Null);
        }
        let number = row.try_get(index).map(Self::Number);
        number.or_else(|_| row.try_get(index).map(Self::Text))
    }
}

impl AuditKey {
    fn stored(&self) -> Result<StoredSigningKey, RegistryError> {
        Ok(StoredSigningKey {
            public_key: self.public_key.parse().map_err(|_| malformed("audit_key", "public key"))?,
            sealed_private_key: self.sealed_private_key.clone(),
            created: UtcTime::from_unix_ms(self.created_ms),
        })
    }
}

impl From<StoredSigningKey> for AuditKey {
    fn from(stored: StoredSigningKey) -> Self {
        Self {
            public_key: stored.public_key.to_string(),
            sealed_private_key: stored.sealed_private_key,
            created_ms: stored.created.unix_ms(),
        }
    }
}

fn migrations() -> Migrator {
    sqlx::migrate!()
}

/// Names of columns become part of a statement.
fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn malformed(table: &str, field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: format!("table {}", table.escape_debug()), field }
}

#[cfg(test)]
mod tests {
    use vmsgate_audit::Create;

    use super::*;

    /// A change of the tables that nobody thought through for backups fails here.
    #[tokio::test]
    async fn every_table_of_the_registry_is_dumped_or_left_out_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        let registry = Registry::within(db).await.unwrap();
        let sql =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'registry!_%' ESCAPE '!'";
        let mut found: Vec<String> = sqlx::query_scalar(sql).fetch_all(registry.db.pool()).await.unwrap();

        let mut known: Vec<&str> = TABLES.into_iter().chain(["registry_cut", "registry_gateway"]).collect();
        found.sort();
        known.sort();

        assert_eq!(found, known);
    }

    #[tokio::test]
    async fn rows_of_an_older_registry_are_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        let columns = ["id", "name", "name_key", "operator", "role", "state", "created_ms", "revision"];
        let text = |text: &str| Cell::Text(text.to_owned());
        let anna = vec![
            text("01890000-0000-7000-8000-000000000001"),
            text("anna"),
            text("anna"),
            text("Anna Berg"),
            text("smart-client"),
            text("active"),
            Cell::Number(1),
            Cell::Number(7),
        ];
        let clients = Rows { columns: columns.map(str::to_owned).to_vec(), rows: vec![anna] };
        let tables = BTreeMap::from([("registry_client".to_owned(), clients)]);
        let old = Dump { migration: 1, tables, audit_key: None, checkpoints: Vec::new() };

        let registry = Registry::load(db, &old).await.unwrap();

        assert_eq!(registry.client("anna").await.unwrap().operator.as_str(), "Anna Berg");
        assert_eq!(registry.dump().await.unwrap().migration, migrations().iter().last().unwrap().version);
    }

    #[tokio::test]
    async fn names_and_shapes_that_no_dump_has_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let rows = |columns: &[&str], cells| Rows {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: vec![cells],
        };
        let strange = [
            ("audit_record", rows(&["seq"], vec![Cell::Number(1)])),
            ("registry_setting", rows(&["name) SELECT 1; --"], vec![Cell::Number(1)])),
            ("registry_setting", rows(&["name", "value"], vec![Cell::Number(1)])),
        ];
        for (index, (table, rows)) in strange.into_iter().enumerate() {
            let path = folder.path().join(format!("{index}.db"));
            let db = Database::open(&path, Create::Yes).await.unwrap();
            let tables = BTreeMap::from([(table.to_owned(), rows)]);
            let dump = Dump { migration: 2, tables, audit_key: None, checkpoints: Vec::new() };
            let error = Registry::load(db, &dump).await.unwrap_err();
            assert!(matches!(error, RegistryError::Malformed { .. }), "{index}: {error}");
        }
    }
}
