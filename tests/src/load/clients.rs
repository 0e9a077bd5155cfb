//! Many clients at once, straight into a registry: one command for each would take an hour.

use std::{net::IpAddr, path::Path};

use anyhow::{Context, Result};
use vmsgate_keys::{Actor, DataDir, Keystore, NewClient, Passphrase, PresharedKey, PrivateKey, Registry};

use crate::raw::Keys;

/// Adds `count` clients with a role, in one change, and returns what each needs to connect.
///
/// # Errors
/// When the installation cannot be opened or refuses a client.
pub fn register(data: &Path, passphrase_file: &Path, role: &str, count: usize) -> Result<Vec<Keys>> {
    let data = DataDir::new(data.to_owned());
    let passphrase = Passphrase::from_file(passphrase_file)?;
    let master = Keystore::read(&data.keystore())?.open(&passphrase)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let registry = Registry::open(&data.database()).await?;
        let ranges = registry.settings().await?.tunnel;
        let gateway = registry.identities().await?.last().context("no identity")?.public_key;
        let mut change = registry.change(&Actor::current()).await?;
        let mut clients = Vec::new();
        for i in 0..count {
            let (private, preshared) = (PrivateKey::generate(), PresharedKey::generate());
            let new = NewClient {
                name: format!("client-{i}").parse()?,
                operator: format!("Operator {i}").parse()?,
                role: role.to_owned(),
                expires: None,
                public_key: private.public_key(),
                preshared_key: preshared.clone(),
            };
            let client = change.add_client(new, &ranges, &master).await?;
            let address = client.addresses.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            let (private, preshared) = (private.to_secret().to_bytes(), *preshared.as_bytes());
            let gateway = *gateway.as_bytes();
            clients.push(Keys { private, preshared: Some(preshared), gateway, v4: address });
        }
        change.commit().await?;
        registry.close().await;
        Ok(clients)
    })
}
