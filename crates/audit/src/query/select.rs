//! Puts a statement together from fixed pieces, and runs it.

use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{Filter, Listing, SCHEMA_VERSION};
use crate::{
    db::Database,
    record::Entry,
    store::{StoreError, to_i64},
    text::Label,
    time::UtcTime,
};

/// A statement under construction: literals of this program as text, everything else as a bound value.
pub(super) struct Select {
    sql: String,
    values: Vec<Value>,
}

#[derive(Debug)]
enum Value {
    Number(i64),
    Text(String),
}

impl Select {
    pub(super) fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Appends ` AND ` and the condition, whose `?` stands for the value.
    fn and(mut self, condition: &'static str, value: Value) -> Self {
        self.values.push(value);
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('?', &format!("${}", self.values.len())));
        self
    }

    pub(super) fn and_time(self, condition: &'static str, time: Option<UtcTime>) -> Self {
        match time {
            Some(time) => self.and(condition, Value::Number(time.unix_ms())),
            None => self,
        }
    }

    pub(super) fn and_name(self, condition: &'static str, name: Option<&Label>) -> Self {
        match name {
            Some(name) => self.and(condition, Value::Text(name.as_str().to_owned())),
            None => self,
        }
    }

    pub(super) fn order_by(mut self, order: &'static str) -> Self {
        self.sql.push_str(" ORDER BY ");
        self.sql.push_str(order);
        self
    }

    /// Runs it and makes a row of each record; `to_row` answers none for a record of the wrong kind.
    pub(super) async fn list<T>(
        mut self,
        db: &Database,
        filter: &Filter,
        to_row: impl Fn(&AnyRow, Entry) -> Result<Option<T>, sqlx::Error>,
    ) -> Result<Listing<T>, StoreError> {
        self.values.push(Value::Number(i64::from(filter.limit) + 1));
        self.sql.push_str(&format!(" LIMIT ${}", self.values.len()));
        let found = self.fetch(db).await?;

        let limit = filter.limit as usize;
        let mut listing = Listing {
            schema_version: SCHEMA_VERSION,
            rows: Vec::new(),
            truncated: found.len() > limit,
            unreadable: 0,
        };
        for row in found.iter().take(limit) {
            match read_entry(row)?.map(|entry| to_row(row, entry)).transpose()?.flatten() {
                Some(row) => listing.rows.push(row),
                None => listing.unreadable += 1,
            }
        }
        Ok(listing)
    }

    async fn fetch(self, db: &Database) -> Result<Vec<AnyRow>, StoreError> {
        // Safe: the text was put together from literals only.
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        query.fetch_all(db.pool()).await.map_err(|e| db.explain(e).into())
    }
}

/// The record behind a row; none when it is gone, or not the one that was written there.
fn read_entry(row: &AnyRow) -> Result<Option<Entry>, sqlx::Error> {
    let Some(text) = row.try_get::<Option<String>, _>("body")? else { return Ok(None) };
    let (chain, seq): (String, i64) = (row.try_get("chain")?, row.try_get("seq")?);
    let entry = Entry::parse(&text).ok();
    Ok(entry.filter(|entry| entry.chain.as_str() == chain && to_i64(entry.seq) == seq))
}

#[cfg(test)]
impl Select {
    /// The database's plan for this statement, one line per step.
    pub(super) async fn plan(mut self, db: &Database) -> Vec<String> {
        self.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        self.fetch(db).await.unwrap().iter().map(|row| row.get("detail")).collect()
    }
}
