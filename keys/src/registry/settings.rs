//! What was said at `init`, for commands that run without a configuration file. A configuration wins over it.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::Row;
use vmsgate_audit::{Database, WriteTransaction};
use vmsgate_config::address::Endpoint;

use super::RegistryError;
use crate::ranges::TunnelRanges;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The gateway's name.
    pub name: String,
    /// What profiles tell clients to connect to, in order of preference; at least one.
    pub endpoints: Vec<Endpoint>,
    pub tunnel: TunnelRanges,
}

impl Serialize for Settings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_pairs().into_iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

const SEPARATOR: &str = ", ";

impl Settings {
    fn to_pairs(&self) -> [(&'static str, String); 3] {
        let endpoints: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        [
            ("name", self.name.clone()),
            ("endpoints", endpoints.join(SEPARATOR)),
            ("tunnel", self.tunnel.to_string()),
        ]
    }

    fn from_pairs(pairs: &BTreeMap<String, String>) -> Result<Self, RegistryError> {
        let get = |name: &str| pairs.get(name).ok_or(RegistryError::NotInitialised);
        let malformed = |field| RegistryError::Malformed { row: "the settings".to_owned(), field };
        let list = |name| get(name).map(|text| text.split(SEPARATOR));
        let endpoints: Result<Vec<Endpoint>, _> = list("endpoints")?.map(str::parse).collect();
        let tunnel: Result<Vec<_>, _> = list("tunnel")?.map(str::parse).collect();
        Ok(Self {
            name: get("name")?.clone(),
            endpoints: endpoints.map_err(|_| malformed("endpoint"))?,
            tunnel: TunnelRanges::new(tunnel.map_err(|_| malformed("tunnel range"))?)
                .map_err(|_| malformed("tunnel range"))?,
        })
    }
}

pub(super) async fn load(db: &Database) -> Result<Settings, RegistryError> {
    let rows = sqlx::query("SELECT name, value FROM registry_setting").fetch_all(db.pool()).await;
    let pairs = rows.and_then(|rows| rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect());
    Settings::from_pairs(&pairs.map_err(|e| db.explain(e))?)
}

/// # Errors
/// A broken uniqueness when settings exist already.
pub(super) async fn insert(tx: &mut WriteTransaction, settings: &Settings) -> Result<(), sqlx::Error> {
    for (name, value) in settings.to_pairs() {
        sqlx::query("INSERT INTO registry_setting (name, value) VALUES ($1, $2)")
            .bind(name)
            .bind(value)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_stored() {
        let settings = Settings {
            name: "gw-1".to_owned(),
            endpoints: ["vpn.example.org:51820", "[2001:db8::1]:51820"]
                .map(|text| text.parse().unwrap())
                .into(),
            tunnel: TunnelRanges::new(["10.99.0.0/16", "fd00:99::/64"].map(|text| text.parse().unwrap()))
                .unwrap(),
        };

        let pairs = settings.to_pairs().map(|(name, value)| (name.to_owned(), value)).into();

        assert_eq!(Settings::from_pairs(&pairs).unwrap(), settings);
        assert!(matches!(Settings::from_pairs(&BTreeMap::new()), Err(RegistryError::NotInitialised)));
    }
}
