//! The profile of a client: a stock WireGuard configuration.
//!
//! `wg-quick`, the apps for Windows, phones and Macs, and (stripped of the `wg-quick` settings) `wg setconf` read
//! it as it is. Comments tell people whose it is. It holds the client's private key, which exists nowhere else.

use std::{fmt::Write, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use vmsgate_config::address::Endpoint;
use zeroize::Zeroizing;

use crate::{
    material::{PresharedKey, PrivateKey, PublicKey},
    registry::Client,
};

/// Everything that a profile says.
#[derive(Debug)]
pub struct Profile<'a> {
    pub client: &'a Client,
    /// None when the device made its own key pair and keeps it.
    pub private_key: Option<&'a PrivateKey>,
    pub preshared_key: &'a PresharedKey,
    pub gateway_name: &'a str,
    pub gateway_key: PublicKey,
    pub endpoint: &'a Endpoint,
    /// The gateway's own tunnel addresses, which also answer DNS.
    pub gateway_addresses: &'a [IpAddr],
    /// Appended to short names; the search domain of the tunnel.
    pub dns_suffix: Option<&'a str>,
    /// What else the client sends into the tunnel.
    pub reachable: &'a [IpNet],
    pub mtu: u16,
    pub made: Timestamp,
}

/// How often a silent client says that it is there, so that NATs and firewalls on the way keep its state; most
/// forget a UDP exchange after 30 s.
const KEEPALIVE_SECONDS: u16 = 25;

impl Profile<'_> {
    /// The text of the `.conf` file; wiped when dropped.
    pub fn to_conf(&self) -> Zeroizing<String> {
        self.render(true)
    }

    /// The same without comments, which would make a QR code larger than a phone can read.
    pub fn to_bare_conf(&self) -> Zeroizing<String> {
        self.render(false)
    }

    fn render(&self, comments: bool) -> Zeroizing<String> {
        // Growing would leave copies of the private key in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(4096 + 48 * self.reachable.len()));
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, comments);
        text
    }

    fn write(&self, text: &mut String, comments: bool) -> std::fmt::Result {
        if comments {
            self.write_comments(text)?;
        }
        writeln!(text, "[Interface]")?;
        match self.private_key {
            Some(key) => writeln!(text, "PrivateKey = {}", key.to_base64().as_str())?,
            None if comments => {
                writeln!(text, "# PrivateKey = (the private key is on the device that made it)")?
            }
            None => {}
        }
        writeln!(text, "Address = {}", join(self.client.addresses.iter().copied().map(IpNet::from)))?;
        let suffix = self.dns_suffix.map(ToOwned::to_owned);
        writeln!(
            text,
            "DNS = {}",
            join(self.gateway_addresses.iter().map(ToString::to_string).chain(suffix))
        )?;
        writeln!(text, "MTU = {}", self.mtu)?;
        writeln!(text, "\n[Peer]\nPublicKey = {}", self.gateway_key)?;
        writeln!(text, "PresharedKey = {}", self.preshared_key.to_base64().as_str())?;
        let own = self.gateway_addresses.iter().copied().map(IpNet::from);
        writeln!(text, "AllowedIPs = {}", join(own.chain(self.reachable.iter().copied())))?;
        writeln!(text, "Endpoint = {}", self.endpoint)?;
        writeln!(text, "PersistentKeepalive = {KEEPALIVE_SECONDS}")
    }

    fn write_comments(&self, text: &mut String) -> std::fmt::Result {
        let expires = self.client.expires.map_or_else(|| "never".to_owned(), second);
        writeln!(text, "# Vmsgate profile. It holds secret keys: keep it as you keep a password.")?;
        writeln!(text, "# client:   {}", self.client.name)?;
        writeln!(text, "# operator: {}", self.client.operator)?;
        writeln!(text, "# role:     {}", self.client.role)?;
        writeln!(text, "# expires:  {expires}")?;
        writeln!(text, "# gateway:  {}", self.gateway_name)?;
        writeln!(text, "# made:     {}", second(self.made))?;
        writeln!(
            text,
            "# The name servers know the names of the video system only. If other names stop working"
        )?;
        writeln!(text, "# while the tunnel is up, remove the DNS line and use addresses.\n")
    }
}

fn join(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
