//! Stable pseudonyms in place of names and addresses, for logs that leave the house.
//!
//! A pseudonym is HMAC-SHA-256 over a name, under a random key that the exporter keeps: the same name has the same
//! pseudonym in every export under that key, and nobody without the key can try names against it. The table of names
//! is kept beside the key, so that a pseudonym can be resolved when that is justified.
//!
//! Replaced are people, their devices and keys, and every address but those of servers. What remains are times,
//! volumes, roles, servers, and the ids of sessions and clients, which say nothing by themselves. A log without names
//! may still tell who somebody is by their habits: it stays personal data.

mod names;
mod walk;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

use self::names::Names;
pub use self::walk::Class;
use crate::canonical;

/// The key, and every name that has a pseudonym under it.
pub struct Pseudonyms {
    key: Zeroizing<[u8; 32]>,
    /// By class and name.
    table: BTreeMap<(Class, String), String>,
}

/// Replaces every name that was learned.
#[derive(Debug)]
pub struct Replacer<'a> {
    pseudonyms: &'a Pseudonyms,
    names: Names,
}

impl Pseudonyms {
    /// Under a new random key.
    pub fn generate() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        Self { key, table: BTreeMap::new() }
    }

    /// Learns the names in one record. Every record of an export must be learned before the first is replaced,
    /// because a name may appear in free text before it appears as a name.
    pub fn learn(&mut self, record: &Value) {
        let mut record = record.clone();
        walk::visit(&mut record, &mut |class, text| {
            for (class, name) in walk::names_in(class, text) {
                if !self.table.contains_key(&(class, name.to_owned())) {
                    let pseudonym = self.make(class, name);
                    self.table.insert((class, name.to_owned()), pseudonym);
                }
            }
        });
    }

    pub fn replacer(&self) -> Replacer<'_> {
        let names = self.table.iter().map(|((_, name), pseudonym)| (name.as_str(), pseudonym.as_str()));
        Replacer { pseudonyms: self, names: Names::new(names) }
    }

    /// The text of the mapping file: a secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let names = self.table.iter().map(|((class, name), pseudonym)| Named {
            pseudonym: pseudonym.clone(),
            class: *class,
            name: name.clone(),
        });
        let mapping = Mapping {
            schema_version: SCHEMA_VERSION,
            kind: KIND.to_owned(),
            key: Zeroizing::new(BASE64_STANDARD.encode(*self.key)),
            names: names.collect(),
        };
        let text = serde_json::to_string_pretty(&mapping);
        Zeroizing::new(text.unwrap_or_else(|e| unreachable!("strings and numbers always become JSON: {e}")))
    }

    /// Reads a mapping file back, to go on under its key.
    ///
    /// # Errors
    /// [`MappingError`] for text that is no mapping.
    pub fn from_text(text: &str) -> Result<Self, MappingError> {
        // The message of a parser may quote what it read, and this may be some other secret file: it is not kept.
        let mapping: Mapping = serde_json::from_str(text).map_err(|_| MappingError::NotAMapping)?;
        if mapping.kind != KIND {
            return Err(MappingError::NotAMapping);
        }
        if mapping.schema_version != SCHEMA_VERSION {
            return Err(MappingError::Version(mapping.schema_version));
        }
        let bytes = BASE64_STANDARD.decode(&*mapping.key).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| MappingError::NotAMapping)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| MappingError::NotAMapping)?;
        let mut pseudonyms = Self { key: Zeroizing::new(key), table: BTreeMap::new() };
        for Named { class, name, pseudonym } in mapping.names {
            if pseudonyms.make(class, &name) != pseudonym {
                return Err(MappingError::Altered);
            }
            pseudonyms.table.insert((class, name), pseudonym);
        }
        Ok(pseudonyms)
    }

    fn make(&self, class: Class, name: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key)
            .unwrap_or_else(|e| unreachable!("HMAC takes a key of any length: {e}"));
        mac.update(class.word().as_bytes());
        mac.update(b"\0");
        mac.update(name.as_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        if class == Class::Address && name.parse::<IpAddr>().is_ok() {
            return documentation_address(&digest).to_string();
        }
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", class.word())
    }
}

impl Replacer<'_> {
    /// The canonical text of a record with its names replaced.
    pub fn replace(&self, record: &Value) -> Result<String, canonical::NotAnInteger> {
        let mut record = record.clone();
        walk::visit(&mut record, &mut |class, text| *text = self.replaced(class, text));
        canonical::to_string(&record)
    }

    fn replaced(&self, class: Class, text: &str) -> String {
        let whole = walk::names_in(class, text).next();
        match whole.and_then(|(class, name)| {
            let pseudonym = self.pseudonyms.table.get(&(class, name.to_owned()))?;
            Some(walk::put(text, name, pseudonym))
        }) {
            Some(replaced) => replaced,
            None => self.names.replace(text),
        }
    }
}

/// An address that cannot be anybody's: 2001:db8::/32 is for documentation (RFC 3849).
fn documentation_address(digest: &[u8; 32]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    octets[4..].copy_from_slice(&digest[..12]);
    octets.into()
}

const SCHEMA_VERSION: u64 = 1;
const KIND: &str = "vmsgate-pseudonyms";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    schema_version: u64,
    kind: String,
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    key: Zeroizing<String>,
    names: Vec<Named>,
}

fn write_key<S: Serializer>(key: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key)
}

fn read_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

#[derive(Serialize, Deserialize)]
struct Named {
    pseudonym: String,
    class: Class,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("not a mapping of pseudonyms")]
    NotAMapping,
    #[error("schema version {0} is newer than this program (it reads version {SCHEMA_VERSION})")]
    Version(u64),
    #[error("a pseudonym in it does not follow from its name and the key")]
    Altered,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms").field("names", &self.table.len()).finish_non_exhaustive()
    }
}
