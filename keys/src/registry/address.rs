//! Which tunnel addresses a new client gets.
//!
//! The next number of each range is handed out, never one that was handed out before: an address in the audit log
//! means one client for all time, and no revoked key can meet its old address in other hands. A /16 lasts for 65,000
//! clients; whoever comes near widens the range, which keeps the addresses given so far.

use std::net::IpAddr;

use ipnet::IpNet;
use sqlx::AnyConnection;

use super::RegistryError;
use crate::{
    ranges::{FIRST_CLIENT, TunnelRanges, nth},
    registry::read::ReadError,
};

/// Takes one address from each range for `client`. The caller's transaction holds the write lock.
pub(super) async fn assign(
    connection: &mut AnyConnection,
    ranges: &TunnelRanges,
    client: &str,
) -> Result<Vec<IpAddr>, ReadError> {
    let mut addresses = Vec::new();
    for range in ranges.iter() {
        addresses.push(assign_from(connection, range, client).await?);
    }
    Ok(addresses)
}

async fn assign_from(
    connection: &mut AnyConnection,
    range: &IpNet,
    client: &str,
) -> Result<IpAddr, ReadError> {
    let cidr = range.to_string();
    let next = sqlx::query_scalar::<_, i64>("SELECT next_number FROM registry_range WHERE cidr = $1")
        .bind(&cidr)
        .fetch_optional(&mut *connection)
        .await?;
    let mut number = next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0).max(FIRST_CLIENT);
    loop {
        let exhausted = || RegistryError::RangeExhausted { range: *range };
        let address = nth(range, number).ok_or_else(exhausted)?;
        number += 1;
        // Taken already when an overlapping range was in use before.
        let taken = sqlx::query(
            "INSERT INTO registry_address (address, client) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(address.to_string())
        .bind(client)
        .execute(&mut *connection)
        .await?
        .rows_affected()
            == 0;
        if !taken {
            remember(connection, &cidr, number).await?;
            return Ok(address);
        }
    }
}

async fn remember(connection: &mut AnyConnection, cidr: &str, next: u64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO registry_range (cidr, next_number) VALUES ($1, $2)
         ON CONFLICT (cidr) DO UPDATE SET next_number = excluded.next_number",
    )
    .bind(cidr)
    .bind(i64::try_from(next).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(drop)
}
