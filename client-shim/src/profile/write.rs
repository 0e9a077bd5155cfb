//! The profile of a client that was enrolled: a stock WireGuard configuration, as `vmsgate-keys client add` writes it.
//!
//! What the gateway answered ends up in a file that wg-quick may run as root (`PostUp`), so every text is checked, and
//! what was written is read back.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use jiff::Timestamp;
use thiserror::Error;
use vmsgate_config::address::Endpoint;
use vmsgate_exchange::body::{Enrolled, SCHEMA_VERSION};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::edit::encode;
use super::{Profile, ProfileError, encode_secret};

/// How often a silent client says that it is there; most NATs forget a UDP exchange after 30 s.
const KEEPALIVE_SECONDS: u16 = 25;
const MAX_TEXT: usize = 253;
/// More networks or addresses than any site has.
const MAX_VALUES: usize = 4096;

/// Why the gateway's answer is no profile.
#[derive(Debug, Error)]
pub enum WriteError {
    #[error(
        "the gateway speaks version {0} of the enrolment, this shim knows {SCHEMA_VERSION}: update the shim"
    )]
    TooNew(u32),
    #[error("the gateway's answer has a bad {0}")]
    Bad(&'static str),
    #[error("the gateway's answer makes no profile")]
    NoProfile(#[source] ProfileError),
    #[error("the private key cannot be sealed for you: {0}")]
    NotSealed(io::Error),
}

/// The gateway's static key that the answer says to use.
///
/// # Errors
/// When it is no key.
pub(crate) fn gateway_key(enrolled: &Enrolled) -> Result<PublicKey, WriteError> {
    let bytes = STANDARD.decode(&enrolled.gateway_key).ok();
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(PublicKey::from).ok_or(WriteError::Bad("key of the gateway"))
}

/// The text of the profile.
///
/// # Errors
/// When anything in the answer could not have come from a sound gateway.
pub(crate) fn to_conf(
    enrolled: &Enrolled,
    secret: &StaticSecret,
    preshared: &[u8; 32],
    made: Timestamp,
) -> Result<Zeroizing<String>, WriteError> {
    if enrolled.schema_version > SCHEMA_VERSION {
        return Err(WriteError::TooNew(enrolled.schema_version));
    }
    let expires = enrolled.expires.as_deref().map(|text| text.parse::<Timestamp>()).transpose();
    let expires = expires.map_err(|_| WriteError::Bad("expiry"))?.map_or_else(|| "never".to_owned(), second);
    let endpoint: Option<Endpoint> = enrolled.endpoints.first().and_then(|text| text.parse().ok());
    let endpoint = endpoint.ok_or(WriteError::Bad("endpoint"))?;
    let gateway = gateway_key(enrolled)?;
    if enrolled.addresses.len().max(enrolled.gateway_addresses.len()).max(enrolled.reachable.len())
        > MAX_VALUES
    {
        return Err(WriteError::Bad("number of addresses"));
    }
    let suffix = enrolled.dns_suffix.as_deref();
    if suffix.is_some_and(|suffix| !is_domain(suffix)) {
        return Err(WriteError::Bad("DNS suffix"));
    }
    // Growing would leave copies of the private key in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(8192 + 48 * 3 * MAX_VALUES));
    let client = label(&enrolled.client, "client name")?;
    let operator = label(&enrolled.operator, "operator")?;
    let role = label(&enrolled.role, "role")?;
    let name = label(&enrolled.gateway_name, "gateway name")?;
    let addresses = join(hosts(&enrolled.addresses));
    let dns =
        join(enrolled.gateway_addresses.iter().map(ToString::to_string).chain(suffix.map(ToOwned::to_owned)));
    let allowed = join(hosts(&enrolled.gateway_addresses).chain(enrolled.reachable.iter().copied()));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# Vmsgate profile. It holds secret keys: keep it as you keep a password.\n\
         # client:   {client}\n\
         # operator: {operator}\n\
         # role:     {role}\n\
         # expires:  {expires}\n\
         # gateway:  {name}\n\
         # made:     {made}\n\
         # The name servers know the names of the video system only. If other names stop working\n\
         # while the tunnel is up, remove the DNS line and use addresses.\n\n\
         [Interface]\n\
         PrivateKey = {secret}\n\
         Address = {addresses}\n\
         DNS = {dns}\n\
         MTU = {mtu}\n\n\
         [Peer]\n\
         PublicKey = {gateway}\n\
         PresharedKey = {preshared}\n\
         AllowedIPs = {allowed}\n\
         Endpoint = {endpoint}\n\
         PersistentKeepalive = {KEEPALIVE_SECONDS}\n",
        made = second(made),
        secret = *encode_secret(secret).map_err(WriteError::NotSealed)?,
        mtu = enrolled.mtu,
        gateway = *encode(gateway.as_bytes()),
        preshared = *encode(preshared),
    );
    Profile::parse(&text, "the new profile", String::new()).map_err(WriteError::NoProfile)?;
    Ok(text)
}

/// A text for a comment: anything that stays on its line and cannot move the cursor.
fn label<'t>(text: &'t str, what: &'static str) -> Result<&'t str, WriteError> {
    let sound = text.len() <= MAX_TEXT && vmsgate_cli::human::printable(text) == text;
    if sound { Ok(text) } else { Err(WriteError::Bad(what)) }
}

fn is_domain(text: &str) -> bool {
    format!("{text}:1").parse::<Endpoint>().is_ok_and(|endpoint| !endpoint.host.contains(':'))
}

fn hosts(addresses: &[IpAddr]) -> impl Iterator<Item = IpNet> {
    addresses.iter().copied().map(IpNet::from)
}

fn join(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn enrolled() -> Enrolled {
        Enrolled {
            schema_version: 1,
            ciphertext: String::new(),
            client: "anna-laptop".to_owned(),
            operator: "Anna Berg".to_owned(),
            role: "smart-client".to_owned(),
            expires: Some("2027-01-01T00:00:00Z".to_owned()),
            addresses: vec!["10.99.0.2".parse().unwrap(), "fd00:99::2".parse().unwrap()],
            gateway_name: "gw-1".to_owned(),
            gateway_key: STANDARD.encode([9; 32]),
            endpoints: vec!["vpn.example.org:51820".to_owned(), "192.0.2.1:51820".to_owned()],
            gateway_addresses: vec!["10.99.0.1".parse().unwrap(), "fd00:99::1".parse().unwrap()],
            dns_suffix: Some("vms.local".to_owned()),
            reachable: vec!["192.168.10.0/24".parse().unwrap()],
            mtu: 1420,
        }
    }

    fn conf(enrolled: &Enrolled) -> Result<Zeroizing<String>, WriteError> {
        to_conf(enrolled, &StaticSecret::from([1; 32]), &[2; 32], "2026-11-25T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn it_is_the_profile_that_the_administrator_would_have_made() {
        assert_eq!(
            conf(&enrolled()).unwrap().as_str(),
            "\
# Vmsgate profile. It holds secret keys: keep it as you keep a password.
# client:   anna-laptop
# operator: Anna Berg
# role:     smart-client
# expires:  2027-01-01T00:00:00Z
# gateway:  gw-1
# made:     2026-11-25T10:00:00Z
# The name servers know the names of the video system only. If other names stop working
# while the tunnel is up, remove the DNS line and use addresses.

[Interface]
PrivateKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
Address = 10.99.0.2/32, fd00:99::2/128
DNS = 10.99.0.1, fd00:99::1, vms.local
MTU = 1420

[Peer]
PublicKey = CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=
PresharedKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
AllowedIPs = 10.99.0.1/32, fd00:99::1/128, 192.168.10.0/24
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
"
        );
    }

    #[test]
    fn no_text_of_the_gateway_can_add_a_line() {
        type Spoil = fn(&mut Enrolled);
        let spoilers: [(&str, Spoil); 11] = [
            ("client name", |e| e.client = "x\nPostUp = reboot".to_owned()),
            ("operator", |e| e.operator = "x\rPostUp = reboot".to_owned()),
            ("role", |e| e.role = "x\u{202e}y".to_owned()),
            ("gateway name", |e| e.gateway_name = "\u{1b}[2J".to_owned()),
            ("DNS suffix", |e| e.dns_suffix = Some("x\nPostUp = reboot".to_owned())),
            ("DNS suffix", |e| e.dns_suffix = Some("x, 192.0.2.66".to_owned())),
            ("endpoint", |e| e.endpoints = vec!["x:1\nPostUp = reboot".to_owned()]),
            ("endpoint", |e| e.endpoints.clear()),
            ("key of the gateway", |e| e.gateway_key = "x\nPostUp = reboot".to_owned()),
            ("key of the gateway", |e| e.gateway_key = STANDARD.encode([9; 31])),
            ("expiry", |e| e.expires = Some("x\nPostUp = reboot".to_owned())),
        ];
        for (what, spoil) in spoilers {
            let mut bad = enrolled();
            spoil(&mut bad);
            let error = conf(&bad).unwrap_err();
            assert!(matches!(error, WriteError::Bad(named) if named == what), "{what}: {error}");
        }
    }

    #[test]
    fn an_answer_that_makes_no_profile_is_refused() {
        let error = conf(&Enrolled { gateway_addresses: Vec::new(), ..enrolled() }).unwrap_err();
        assert!(matches!(error, WriteError::NoProfile(_)), "{error}");
        let error = conf(&Enrolled { mtu: 100, ..enrolled() }).unwrap_err();
        assert!(matches!(error, WriteError::NoProfile(_)), "{error}");
        let error = conf(&Enrolled { schema_version: 2, ..enrolled() }).unwrap_err();
        assert!(matches!(error, WriteError::TooNew(2)), "{error}");
    }
}
