//! Reading many rows at once.
//!
//! A driver that hands over row by row costs more than all checks together, so SQLite puts hundreds of rows into one
//! text. Each begins with its numbers and the lengths of its texts and goes on with the texts themselves, so that no
//! content, whatever somebody wrote into the database, can be taken for the beginning of another row.

use sqlx::{AnyConnection, Row as _};

/// A row of `audit_record`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordRow<'a> {
    pub(super) seq: u64,
    pub(super) time_ms: i64,
    pub(super) kind: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) client: Option<&'a str>,
    pub(super) operator: Option<&'a str>,
    pub(super) server: Option<&'a str>,
    pub(super) hash: &'a str,
    pub(super) body: &'a str,
}

/// Rows as they came, and the key of the last.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) count: u64,
    pub(super) last: i64,
    bytes: Vec<u8>,
}

/// Why a row cannot be read; nothing after it in the batch can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRow {
    /// A value is of another type than was written, or too long.
    Type,
    NotText,
}

/// Comparing with `''` and `x''` tells the types: in SQLite every number is less than every text and that less than
/// every blob; NULL is neither, and says nothing.
pub(super) const RECORDS: &str = "
    SELECT COUNT(*), MAX(seq), CAST(group_concat(x, '') AS BLOB) FROM (
        SELECT seq, CASE WHEN seq >= '' OR time_ms >= '' OR kind >= x'' OR session >= x'' OR client >= x''
                OR operator >= x'' OR server >= x'' OR hash >= x'' OR body >= x'' OR octet_length(body) > 262144
            THEN '!' ELSE seq || ' ' || time_ms || ' ' || octet_length(kind)
                || ' ' || ifnull(octet_length(session), '-') || ' ' || ifnull(octet_length(client), '-')
                || ' ' || ifnull(octet_length(operator), '-') || ' ' || ifnull(octet_length(server), '-')
                || ' ' || octet_length(hash) || ' ' || octet_length(body) || ' '
                || kind || ifnull(session, '') || ifnull(client, '') || ifnull(operator, '') || ifnull(server, '')
                || hash || body END AS x
        FROM audit_record WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT 512)";

pub(super) async fn records(
    connection: &mut AnyConnection,
    chain: &str,
    after: i64,
) -> Result<Option<Batch>, sqlx::Error> {
    fetch(sqlx::query(RECORDS).bind(chain.to_owned()).bind(after), connection).await
}

/// A batch of what `sql` says, whose key is greater than `after`.
pub(super) async fn after(
    connection: &mut AnyConnection,
    sql: &'static str,
    after: i64,
) -> Result<Option<Batch>, sqlx::Error> {
    fetch(sqlx::query(sql).bind(after), connection).await
}

async fn fetch(
    query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
    connection: &mut AnyConnection,
) -> Result<Option<Batch>, sqlx::Error> {
    let row = query.fetch_one(connection).await?;
    let count = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    if count == 0 {
        return Ok(None);
    }
    // Not a number only if a key is none; the row itself then says so.
    let last = row.try_get(1).unwrap_or(i64::MAX);
    Ok(Some(Batch { count, last, bytes: row.try_get(2)? }))
}

impl Batch {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { rest: &self.bytes }
    }
}

/// Takes rows apart.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next row of [`RECORDS`].
    pub(super) fn record(&mut self) -> Result<RecordRow<'a>, BadRow> {
        let seq = u64::try_from(self.number()?).map_err(|_| BadRow::Type)?;
        let time_ms = self.number()?;
        let [kind, session, client, operator, server, hash, body] = self.texts()?;
        Ok(RecordRow {
            seq,
            time_ms,
            kind: kind.ok_or(BadRow::Type)?,
            session,
            client,
            operator,
            server,
            hash: hash.ok_or(BadRow::Type)?,
            body: body.ok_or(BadRow::Type)?,
        })
    }

    /// A number and the blank after it.
    pub(super) fn number(&mut self) -> Result<i64, BadRow> {
        let end = self.rest.iter().take(21).position(|byte| *byte == b' ').ok_or(BadRow::Type)?;
        let digits = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(BadRow::Type)
    }

    /// `N` lengths, each with the blank after it, then the texts. The length of NULL is `-`.
    pub(super) fn texts<const N: usize>(&mut self) -> Result<[Option<&'a str>; N], BadRow> {
        let mut lengths = [None; N];
        for length in &mut lengths {
            if self.rest.starts_with(b"- ") {
                self.take(2)?;
            } else {
                *length = Some(usize::try_from(self.number()?).map_err(|_| BadRow::Type)?);
            }
        }
        let mut texts = [None; N];
        for (text, length) in texts.iter_mut().zip(lengths) {
            if let Some(length) = length {
                *text = Some(std::str::from_utf8(self.take(length)?).map_err(|_| BadRow::NotText)?);
            }
        }
        Ok(texts)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadRow> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BadRow::Type)?;
        self.rest = rest;
        Ok(taken)
    }
}
