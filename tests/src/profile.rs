//! A client profile: the stock WireGuard `.conf` that people get, read as wg-quick reads it.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};

use crate::process::capture;

/// A profile's text and what tests ask of it.
#[derive(Clone)]
pub struct Profile {
    text: String,
}

impl Profile {
    /// Takes the text of a `.conf` file.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The values of a key, in order, split at commas as wg-quick does.
    #[must_use]
    pub fn values(&self, key: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
        lines
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case(key))
            .flat_map(|(_, values)| values.split(','))
            .map(str::trim)
            .collect()
    }

    /// The only value of a key.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn value(&self, key: &str) -> Result<&str> {
        let values = self.values(key);
        ensure!(values.len() == 1, "the profile has {} values of {key}", values.len());
        values.first().copied().context("no value")
    }

    /// A key's 32 bytes.
    ///
    /// # Errors
    /// When it is missing or not a key.
    pub fn key(&self, name: &str) -> Result<[u8; 32]> {
        use base64::Engine as _;
        // The padding of base64 is `=`; only the first separates name and value.
        let bytes = base64::engine::general_purpose::STANDARD.decode(self.value(name)?)?;
        bytes.try_into().ok().with_context(|| format!("{name} is not 32 bytes"))
    }

    /// The same profile, but for a path through a relay.
    #[must_use]
    pub fn through(&self, endpoint: SocketAddr) -> Self {
        self.with("Endpoint", &endpoint.to_string())
    }

    /// The same profile, but for another identity of the gateway.
    #[must_use]
    pub fn under(&self, public_key: &str) -> Self {
        self.with("PublicKey", public_key)
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let is_it = |line: &str| line.trim_start().starts_with(name);
        let replace = |line: &str| if is_it(line) { format!("{name} = {value}") } else { line.to_owned() };
        Self { text: self.text.lines().map(replace).map(|line| line + "\n").collect() }
    }

    /// The same profile, but sending more into the tunnel than the gateway asked for.
    #[must_use]
    pub fn also_sending(&self, ranges: &str) -> Self {
        Self { text: format!("{}AllowedIPs = {ranges}\n", self.text) }
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.text).with_context(|| format!("Failed to write {}", path.display()))
    }

    /// What `wg setconf` takes: the profile without what only wg-quick understands, by wg-quick's own judgement.
    ///
    /// # Errors
    /// When wg-quick does not accept the profile.
    pub fn strip(&self, folder: &Path) -> Result<String> {
        let path = folder.join("stock.conf");
        self.write(&path)?;
        capture(std::process::Command::new("wg-quick").arg("strip").arg(path))
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("addresses", &self.values("Address")).finish_non_exhaustive()
    }
}
