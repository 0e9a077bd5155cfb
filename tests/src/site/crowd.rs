//! Many clients of a site at once: registered in one change, and all on one machine.

use std::{fs, net::Ipv4Addr, os::unix::fs::chown};

use anyhow::Result;

use super::Site;
use crate::{
    load::clients,
    process::User,
    raw::Keys,
    topology::{ClientHost, Topology},
};

/// Client number `i` of a crowd, counted from 1, has this address and `i`.
pub const SOURCES: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);

impl Site {
    /// Adds `count` clients with the role `smart-client`, and returns what each needs to connect.
    ///
    /// # Errors
    /// When the registry refuses them.
    pub fn register(&self, count: usize) -> Result<Vec<Keys>> {
        let keys = clients::register(&self.data(), &self.folder().join("passphrase"), "smart-client", count)?;
        // SQLite's files beside the database may have been made by this process, which is root.
        for entry in fs::read_dir(self.data())? {
            chown(entry?.path(), Some(User::Gateway.uid()), Some(User::Gateway.uid()))?;
        }
        Ok(keys)
    }
}

impl Topology {
    /// Adds a client's machine that has every address of the crowd.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn add_crowd(&self) -> Result<ClientHost> {
        let host = self.add_client()?;
        host.namespace.ip(&format!("route add local {SOURCES}/16 dev lo"))?;
        self.internet.ip(&format!("route add {SOURCES}/16 via {}", host.v4))?;
        Ok(host)
    }
}
