//! The hash chain that makes an edit visible.
//!
//! Records of one writer form one chain: `gateway/NAME` for each gateway, `admin` for administrative acts. Each
//! record's hash is SHA-256 over the 32 bytes of its predecessor's hash followed by its own canonical text; the
//! predecessor of the first is SHA-256 over a fixed prefix and the name of the chain. An edited, deleted, inserted or
//! moved record therefore breaks every hash after it. What a chain alone cannot show is a cut tail, or a history that
//! was computed anew: for that there are signed checkpoints (see [`crate::checkpoint`]) and copies of them kept
//! elsewhere.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::{
    record::{Entry, ParseError},
    text::Label,
};

/// The name of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(Label);

impl Chain {
    const ADMIN: &str = "admin";
    const GATEWAY: &str = "gateway/";

    /// Administrative acts.
    pub fn admin() -> Self {
        Self(Label::new(Self::ADMIN))
    }

    /// Everything that one gateway saw.
    pub fn gateway(name: &str) -> Self {
        Self(Label::new(&format!("{}{name}", Self::GATEWAY)))
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        (name == Self::ADMIN || name.starts_with(Self::GATEWAY)).then(|| Self(Label::new(name)))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn gateway_name(&self) -> Option<&str> {
        self.as_str().strip_prefix(Self::GATEWAY)
    }

    /// The head of this chain before its first record.
    pub fn genesis(&self) -> Head {
        let digest = Sha256::new_with_prefix(b"vmsgate audit chain 1\n").chain_update(self.as_str());
        Head { seq: 0, hash: Hash(digest.finalize().into()) }
    }
}

/// SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// The last record of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: Hash,
}

impl Head {
    /// The head after one more record.
    pub fn extended_by(&self, text: &str) -> Head {
        let digest = Sha256::new_with_prefix(self.hash.0).chain_update(text);
        Head { seq: self.seq.saturating_add(1), hash: Hash(digest.finalize().into()) }
    }
}

/// A record as it lies in the store: read, but not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub seq: u64,
    pub text: String,
    pub hash: String,
}

/// Checks that `entries` continue `chain` after `from` and returns the head they lead to.
///
/// Pass [`Chain::genesis`] to check from the beginning, and compare the result with [`crate::head`] or with a head
/// that was kept elsewhere: only that shows a cut tail.
///
/// # Errors
/// [`BrokenChain`] names the first entry that does not fit.
pub fn verify(
    chain: &Chain,
    from: Head,
    entries: impl IntoIterator<Item = StoredEntry>,
) -> Result<Head, BrokenChain> {
    entries.into_iter().try_fold(from, |head, entry| {
        let next = head.extended_by(&entry.text);
        let seq = next.seq;
        if entry.seq != seq {
            return Err(BrokenChain::Sequence { expected: seq, found: entry.seq });
        }
        if entry.hash.parse() != Ok(next.hash) {
            return Err(BrokenChain::Hash { seq });
        }
        let parsed = Entry::parse(&entry.text).map_err(|source| BrokenChain::Text { seq, source })?;
        if parsed.seq != seq || parsed.chain != *chain {
            return Err(BrokenChain::Moved { seq, was: parsed.chain, was_seq: parsed.seq });
        }
        Ok(next)
    })
}

#[derive(Debug, thiserror::Error)]
pub enum BrokenChain {
    #[error("record {expected} is missing: {found} follows instead")]
    Sequence { expected: u64, found: u64 },
    #[error("record {seq} or its predecessor was altered: its hash does not match")]
    Hash { seq: u64 },
    #[error("record {seq} is not a record")]
    Text { seq: u64, source: ParseError },
    #[error("record {seq} was written as record {was_seq} of chain `{}`", .was.as_str())]
    Moved { seq: u64, was: Chain, was_seq: u64 },
}

impl From<[u8; 32]> for Hash {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct MalformedHash;

impl FromStr for Hash {
    type Err = MalformedHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self).ok_or(MalformedHash)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Exactly `N` bytes in lower-case hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
