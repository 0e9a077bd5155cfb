//! Files and lines that people or others may have altered. What parses is written as it was read.

use vmsgate_audit::Entry;
use vmsgate_audit::chain::{Chain, StoredEntry, verify};
use vmsgate_config::Config;
use vmsgate_exchange::Token;
use vmsgate_exchange::refusal::Refusal;
use vmsgate_keys::Keystore;
use vmsgate_shim::Profile;

/// The gateway's configuration: a problem names a line of the file, and what is accepted is accepted again.
pub(crate) fn config(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    match (Config::from_str(text, "gateway.toml"), Config::from_str(text, "gateway.toml")) {
        (Ok(one), Ok(two)) => {
            assert_eq!(one.version, two.version);
            1
        }
        (Err(one), Err(two)) => {
            assert!(!one.to_string().is_empty());
            assert_eq!(one.to_string(), two.to_string());
            0
        }
        _ => panic!("accepted once and refused once"),
    }
}

/// The file `keystore`, without the passphrase: that costs what it must.
pub(crate) fn keystore(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let Ok(keystore) = Keystore::parse(text) else { return 0 };
    assert_eq!(keystore.to_text(), text);
    1
}

/// An invitation.
pub(crate) fn token(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let Ok(token) = text.parse::<Token>() else { return 0 };
    let written = token.to_text();
    let again: Token = written.parse().unwrap_or_else(|error| panic!("written, not read: {error}"));
    assert_eq!(
        (again.gateway, &again.endpoint, &again.client, again.expires),
        (token.gateway, &token.endpoint, &token.client, token.expires)
    );
    let _ = token.keys();
    1
}

/// A line of the audit log: what is read is written as the same record, and fits its chain only where it belongs.
pub(crate) fn record(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let Ok(entry) = Entry::parse(text) else { return 0 };
    let written = entry.to_text();
    let again =
        Entry::parse(&written).unwrap_or_else(|error| panic!("written, not read: {error}: {written}"));
    assert_eq!(again, entry);
    assert_eq!(again.to_text(), written, "the canonical text is not canonical");
    let chain = Chain::gateway("gw-1");
    let head = chain.genesis().extended_by(text);
    let stored = StoredEntry { seq: 1, text: text.to_owned(), hash: head.hash.to_string() };
    assert_eq!(verify(&chain, chain.genesis(), [stored]).is_ok(), entry.seq == 1 && entry.chain == chain);
    1
}

/// A WireGuard configuration.
pub(crate) fn profile(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    match Profile::parse(text, "alice.conf", "alice".to_owned()) {
        Ok(profile) => {
            assert!(!profile.addresses.is_empty() && !profile.gateway_addresses.is_empty());
            assert!((576..=9000).contains(&profile.mtu));
            1
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            0
        }
    }
}

/// The notice to a client that is shut out.
pub(crate) fn refusal(input: &[u8]) -> u64 {
    let Some(refusal) = Refusal::parse(input) else { return 0 };
    assert_eq!(Refusal::parse(&refusal.to_bytes()), Some(refusal));
    1
}
