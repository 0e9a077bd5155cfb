//! What the gateway told last, for the next start: the other endpoints, when access ends, and whom to ask.
//!
//! It lies beside the profile, as `FILE.known`, and not in it: the profile is its owner's file, holds secrets, and is
//! rewritten when keys change. Nothing here is secret or trusted: it is bounded and checked like anything foreign, and
//! what does not belong to the profile (another endpoint, other addresses) is not used.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vmsgate_config::address::Endpoint;
use vmsgate_exchange::refusal::{Reason, Refusal, is_contact};

use crate::files;
use crate::profile::Profile;

const SCHEMA_VERSION: u32 = 1;
/// Endpoints that are remembered, and tried, beside the profile's.
pub(crate) const MAX_ENDPOINTS: usize = 8;

/// What is remembered of one profile.
#[derive(Debug, Clone)]
pub struct Memory {
    /// None where the profile was not read from a file.
    file: Option<PathBuf>,
    endpoint: Endpoint,
    addresses: Vec<IpAddr>,
    told: Option<Told>,
}

/// What the gateway told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The endpoints beside the profile's.
    pub endpoints: Vec<Endpoint>,
    /// When access ends.
    pub expires: Option<Timestamp>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Why the gateway did not accept the client any more when it was heard last.
    pub refused: Option<Reason>,
}

/// As it is on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema_version: u32,
    /// The profile's, so that it can be told whose memory this is.
    endpoint: String,
    addresses: Vec<IpAddr>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    expires: Option<Timestamp>,
    #[serde(default)]
    contact: Option<String>,
    #[serde(default)]
    refused: Option<Reason>,
}

impl Memory {
    /// Reads what was remembered of a profile. What is of no use is no error: the gateway will tell again.
    pub fn of(profile: &Profile) -> Self {
        let file = profile.file.as_deref().map(|file| files::beside(file, "known"));
        let (endpoint, addresses) = (profile.endpoint.clone(), profile.addresses.clone());
        let mut memory = Self { file, endpoint, addresses, told: None };
        memory.told = memory.read();
        memory
    }

    /// What the gateway told in an earlier run; none if it never did.
    pub fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// The endpoints beside the profile's.
    pub fn others(&self) -> Vec<Endpoint> {
        self.told.as_ref().map(|told| told.endpoints.clone()).unwrap_or_default()
    }

    /// Remembers what the gateway tells now. Without a place for it the next start knows less, and nothing else.
    pub(crate) fn note(&mut self, told: Told) {
        if self.told.as_ref() == Some(&told) {
            return;
        }
        let document = Document {
            schema_version: SCHEMA_VERSION,
            endpoint: self.endpoint.to_string(),
            addresses: self.addresses.clone(),
            endpoints: told.endpoints.iter().map(ToString::to_string).collect(),
            expires: told.expires,
            contact: told.contact.clone(),
            refused: told.refused,
        };
        self.told = Some(told);
        let Some(file) = &self.file else { return };
        let text = serde_json::to_string_pretty(&document).unwrap_or_default() + "\n";
        if let Err(error) = files::replace(file, &text, None) {
            tracing::debug!(%error, file = %file.display(), "what the gateway told is not remembered");
        }
    }

    /// Remembers that the gateway does not accept the client any more.
    pub(crate) fn note_refusal(&mut self, refusal: &Refusal) {
        let told = self.told.clone().unwrap_or_default();
        let contact = refusal.contact.clone().or(told.contact.clone());
        self.note(Told { contact, refused: Some(refusal.reason), ..told });
    }

    fn read(&self) -> Option<Told> {
        let text = files::read(self.file.as_deref()?).ok()??;
        let document: Document = serde_json::from_str(&text).ok()?;
        let ours = document.schema_version == SCHEMA_VERSION
            && document.endpoint == self.endpoint.to_string()
            && document.addresses == self.addresses;
        ours.then(|| Told {
            endpoints: others(&self.endpoint, &document.endpoints),
            expires: document.expires,
            contact: document.contact.filter(|contact| is_contact(contact)),
            refused: document.refused,
        })
    }
}

/// The endpoints of a list beside the profile's: those that are sound, and not too many.
pub(crate) fn others<T: AsRef<str>>(own: &Endpoint, endpoints: &[T]) -> Vec<Endpoint> {
    let mut others = Vec::new();
    for endpoint in endpoints.iter().filter_map(|text| text.as_ref().parse::<Endpoint>().ok()) {
        if endpoint != *own && !others.contains(&endpoint) && others.len() < MAX_ENDPOINTS {
            others.push(endpoint);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn profile(folder: &Path, endpoint: &str) -> Profile {
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let text = format!(
            "[Interface]\nPrivateKey = {key}\nAddress = 10.99.0.2/32\nDNS = 10.99.0.1\n\
             [Peer]\nPublicKey = {key}\nEndpoint = {endpoint}\nAllowedIPs = 0.0.0.0/0\n"
        );
        let path = folder.join("alice.conf");
        std::fs::write(&path, text).unwrap();
        Profile::read(&path).unwrap()
    }

    fn told() -> Told {
        let endpoints = vec!["b.example:51820".parse().unwrap(), "[2001:db8::1]:51820".parse().unwrap()];
        let expires = Some("2027-01-01T00:00:00Z".parse().unwrap());
        Told { endpoints, expires, contact: Some("VMS operations".to_owned()), refused: None }
    }

    #[test]
    fn the_next_start_knows_what_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let profile = profile(folder.path(), "a.example:51820");
        let mut memory = Memory::of(&profile);
        assert_eq!(memory.told(), None);
        memory.note(told());
        assert_eq!(Memory::of(&profile).told(), Some(&told()));
        assert_eq!(Memory::of(&profile).others(), told().endpoints);

        memory.note_refusal(&Refusal::new(Reason::Suspended, Some("Anna")));
        let refused = Told { contact: Some("Anna".to_owned()), refused: Some(Reason::Suspended), ..told() };
        assert_eq!(Memory::of(&profile).told(), Some(&refused));
    }

    #[test]
    fn what_was_told_of_another_endpoint_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        Memory::of(&profile(folder.path(), "a.example:51820")).note(told());
        assert_eq!(Memory::of(&profile(folder.path(), "c.example:51820")).told(), None);
    }

    #[test]
    fn a_damaged_file_is_no_memory_and_its_contents_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let profile = profile(folder.path(), "a.example:51820");
        let known = folder.path().join("alice.conf.known");
        let list = |endpoints: &[String]| {
            serde_json::json!({
                "schema_version": 1, "endpoint": "a.example:51820", "addresses": ["10.99.0.2"], "endpoints": endpoints,
            })
            .to_string()
        };
        for text in ["", "{}", "null", "[1]", &list(&[]).replace(":1}", ":2}")] {
            std::fs::write(&known, text).unwrap();
            assert_eq!(Memory::of(&profile).told(), None, "{text}");
        }
        let many: Vec<_> = (1..100).map(|n| format!("host{n}:51820")).collect();
        let foreign = ["x\n:1", "a.example:51820", "host1:51820", "nothing"].map(str::to_owned);
        std::fs::write(&known, list(&[&foreign[..], &many[..]].concat())).unwrap();
        let others = Memory::of(&profile).others();
        assert_eq!((others.len(), others[0].to_string()), (MAX_ENDPOINTS, "host1:51820".to_owned()));
    }
}
