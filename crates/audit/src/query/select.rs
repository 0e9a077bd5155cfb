//! Puts a statement together from fixed pieces, and runs it.

use std::{net::IpAddr, pin::pin};

use futures_util::TryStreamExt;
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};
use uuid::Uuid;

use super::{Listing, SCHEMA_VERSION};
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

    pub(super) fn and_session(self, condition: &'static str, session: Option<Uuid>) -> Self {
        match session {
            Some(session) => self.and(condition, Value::Text(session.to_string())),
            None => self,
        }
    }

    /// The condition compares the canonical text of a record, named by `condition`, with a pattern for its `reason`.
    ///
    /// That is exact: inside of a string the quotes of the pattern would be escaped.
    pub(super) fn and_reason(self, condition: &'static str, reason: Option<&Label>) -> Self {
        let Some(reason) = reason else { return self };
        let mut text = String::new();
        for c in Json::from(reason.as_str()).to_string().chars() {
            if matches!(c, '\\' | '%' | '_') {
                text.push('\\');
            }
            text.push(c);
        }
        self.and(condition, Value::Text(format!("%\"reason\":{text}%")))
    }

    pub(super) fn and_address(self, condition: &'static str, address: IpAddr) -> Self {
        self.and(condition, Value::Text(address.to_string()))
    }

    pub(super) fn and_number(self, condition: &'static str, number: i64) -> Self {
        self.and(condition, Value::Number(number))
    }

    pub(super) fn order_by(mut self, order: &'static str) -> Self {
        self.sql.push_str(" ORDER BY ");
        self.sql.push_str(order);
        self
    }

    /// Runs it and makes a row of each record, at most `limit` of them; `to_row` answers none for a record of the wrong
    /// kind.
    pub(super) async fn list<T>(
        mut self,
        db: &Database,
        limit: u32,
        to_row: impl Fn(&AnyRow, Entry) -> Result<Option<T>, sqlx::Error>,
    ) -> Result<Listing<T>, StoreError> {
        self.values.push(Value::Number(i64::from(limit) + 1));
        self.sql.push_str(&format!(" LIMIT ${}", self.values.len()));
        let limit = limit as usize;
        let mut found = 0;
        let mut listing =
            Listing { schema_version: SCHEMA_VERSION, rows: Vec::new(), truncated: false, unreadable: 0 };
        self.fetch(db, |row| {
            found += 1;
            if found > limit {
                listing.truncated = true;
                return Ok(());
            }
            match read_entry(&row)?.map(|entry| to_row(&row, entry)).transpose()?.flatten() {
                Some(row) => listing.rows.push(row),
                None => listing.unreadable += 1,
            }
            Ok(())
        })
        .await?;
        Ok(listing)
    }

    /// Runs it and passes on a row of each record, in bounded memory. Answers how many records could not be read.
    pub(super) async fn each<T>(
        self,
        db: &Database,
        to_row: impl Fn(&AnyRow, Entry) -> Result<Option<T>, sqlx::Error>,
        mut take: impl FnMut(T),
    ) -> Result<u64, StoreError> {
        let mut unreadable = 0;
        self.fetch(db, |row| {
            match read_entry(&row)?.map(|entry| to_row(&row, entry)).transpose()?.flatten() {
                Some(row) => take(row),
                None => unreadable += 1,
            }
            Ok(())
        })
        .await?;
        Ok(unreadable)
    }

    async fn fetch(
        self,
        db: &Database,
        mut take: impl FnMut(AnyRow) -> Result<(), sqlx::Error>,
    ) -> Result<(), StoreError> {
        // Safe: the text was put together from literals only.
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        let mut rows = pin!(query.fetch(db.pool()));
        while let Some(row) = rows.try_next().await.map_err(|e| db.explain(e))? {
            take(row)?;
        }
        Ok(())
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
        let mut steps = Vec::new();
        let take = |row: AnyRow| {
            steps.push(row.try_get("detail")?);
            Ok(())
        };
        self.fetch(db, take).await.unwrap();
        steps
    }
}
