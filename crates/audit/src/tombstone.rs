//! Tombstones: what stands in a chain for records that were deleted because their time was over.
//!
//! A tombstone is a record like any other, later in the same chain than what it stands for. It gives the hash of the last
//! record of every range that went, so that the chain goes on across the gap: what follows the range still proves itself.
//! It is signed; only who has the secret key can make records go without breaking the chain. How many of which kind went,
//! and from which time, stays known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    chain::{Chain, Hash},
    signing::{Signature, SigningKey, VerifyingKey},
    text::{Fingerprint, Label},
    time::UtcTime,
};

/// The members of an `audit.tombstone` record; its chain and its time are signed too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// In order, without overlap.
    pub ranges: Vec<DeletedRange>,
    /// How many records of each kind went.
    pub counts: BTreeMap<Label, u64>,
    /// The earliest and the latest time of a record that went.
    pub from: UtcTime,
    pub to: UtcTime,
    pub key: Fingerprint,
    pub signature: Signature,
}

/// Records that followed each other and are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRange {
    pub first: u64,
    pub last: u64,
    /// That of record `last`.
    pub hash: Hash,
}

/// What a tombstone says, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) ranges: Vec<DeletedRange>,
    pub(crate) counts: BTreeMap<Label, u64>,
    pub(crate) from: UtcTime,
    pub(crate) to: UtcTime,
}

impl Tombstone {
    /// So that the record stays below the longest that is read (256 KiB).
    pub const MAX_RANGES: usize = 1000;

    pub(crate) fn sign(key: &SigningKey, chain: &Chain, time: UtcTime, deleted: Deleted) -> Self {
        let public = key.verifying_key();
        let signature = key.sign(&signed_bytes(chain, time, &deleted, &public));
        let Deleted { ranges, counts, from, to } = deleted;
        Self { ranges, counts, from, to, key: public.fingerprint(), signature }
    }

    /// Whether `key` signed that these records of `chain` were deleted at `time`.
    pub fn is_signed_by(&self, key: &VerifyingKey, chain: &Chain, time: UtcTime) -> bool {
        let Self { ranges, counts, from, to, .. } = self.clone();
        key.verifies(&signed_bytes(chain, time, &Deleted { ranges, counts, from, to }, key), &self.signature)
    }

    /// Whether the ranges are in order, without overlap, and all before record `seq`, which this is.
    pub(crate) fn is_well_formed(&self, seq: u64) -> bool {
        let ends = self.ranges.iter().flat_map(|range| [range.first, range.last]);
        let in_order = self.ranges.iter().all(|range| 0 < range.first && range.first <= range.last);
        let apart = self.ranges.iter().zip(self.ranges.iter().skip(1)).all(|(a, b)| a.last < b.first);
        in_order && apart && !self.ranges.is_empty() && ends.max() < Some(seq)
    }
}

fn signed_bytes(chain: &Chain, time: UtcTime, deleted: &Deleted, key: &VerifyingKey) -> Vec<u8> {
    let Deleted { ranges, counts, from, to } = deleted;
    let mut text = format!("vmsgate audit tombstone 1\n{}\n{time}\n{from}\n{to}\n", chain.as_str());
    for DeletedRange { first, last, hash } in ranges {
        text.push_str(&format!("range {first} {last} {hash}\n"));
    }
    for (kind, count) in counts {
        // A label has no line end.
        text.push_str(&format!("count {count} {}\n", kind.as_str()));
    }
    text.push_str(&format!("{key}\n"));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted() -> Deleted {
        let range = |first, last| DeletedRange { first, last, hash: Chain::admin().genesis().hash };
        Deleted {
            ranges: vec![range(1, 3), range(5, 5)],
            counts: BTreeMap::from([(Label::new("flow.closed"), 4)]),
            from: UtcTime::from_unix_ms(1),
            to: UtcTime::from_unix_ms(2),
        }
    }

    #[test]
    fn a_signature_fits_everything_that_the_tombstone_says_and_nothing_else() {
        let key = SigningKey::from_seed(&[7; 32]);
        let public = key.verifying_key();
        let (chain, time) = (Chain::gateway("gw-1"), UtcTime::from_unix_ms(9));
        let signed = Tombstone::sign(&key, &chain, time, deleted());
        assert!(signed.is_signed_by(&public, &chain, time));

        let changed = |change: fn(&mut Tombstone)| {
            let mut tombstone = signed.clone();
            change(&mut tombstone);
            tombstone.is_signed_by(&public, &chain, time)
        };
        assert!(!changed(|t| t.ranges[0].last = 4));
        assert!(!changed(|t| t.ranges[1].first = 4));
        assert!(!changed(|t| t.ranges[0].hash = Chain::gateway("x").genesis().hash));
        assert!(!changed(|t| t.ranges.truncate(1)));
        assert!(!changed(|t| t.counts.extend([(Label::new("flow.closed"), 3)])));
        assert!(!changed(|t| drop(t.counts.pop_last())));
        assert!(!changed(|t| t.from = UtcTime::from_unix_ms(2)));
        assert!(!changed(|t| t.to = UtcTime::from_unix_ms(3)));
        assert!(!signed.is_signed_by(&public, &Chain::admin(), time));
        assert!(!signed.is_signed_by(&public, &chain, UtcTime::from_unix_ms(8)));
        let other = SigningKey::from_seed(&[8; 32]).verifying_key();
        assert!(!signed.is_signed_by(&other, &chain, time));
    }

    #[test]
    fn ranges_that_overlap_or_reach_the_tombstone_itself_are_malformed() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signed = Tombstone::sign(&key, &Chain::admin(), UtcTime::from_unix_ms(9), deleted());
        assert!(signed.is_well_formed(6) && !signed.is_well_formed(5));
        let changed = |change: fn(&mut Tombstone)| {
            let mut tombstone = signed.clone();
            change(&mut tombstone);
            tombstone.is_well_formed(100)
        };
        assert!(!changed(|t| t.ranges[0].first = 0));
        assert!(!changed(|t| t.ranges[0].last = 5));
        assert!(!changed(|t| t.ranges[1].last = 4));
        assert!(!changed(|t| t.ranges.clear()));
    }
}
