//! What a verification found.

use serde::Serialize;

use crate::{
    chain::{Hash, Head},
    checkpoint::Anchor,
    signing::VerifyingKey,
    text::{Fingerprint, Label},
    time::UtcTime,
};

/// What was found, chain by chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all of it holds.
    pub proven: bool,
    /// The key that signatures were checked with; none when there was none to be had.
    pub key: Option<VerifyingKey>,
    pub key_source: KeySource,
    pub chains: Vec<ChainReport>,
    pub anchors: Vec<AnchorReport>,
    pub index: IndexState,
    /// What is wrong with the database beside its chains.
    pub faults: Vec<String>,
}

impl Report {
    /// Whether a checkpoint that holds signs some of it. Without one, the records fit each other and no more is proven.
    pub fn is_signed(&self) -> bool {
        self.chains.iter().any(|chain| chain.proven_until.is_some())
    }
}

/// Where the key came from: what it proves depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// Given by whoever asked.
    Given,
    /// From an anchor, which was kept elsewhere.
    Anchor,
    /// From the database itself: whoever replaced the log may have replaced it as well.
    Database,
    Missing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    pub chain: Label,
    /// Records that were checked and hold.
    pub records: u64,
    /// Records that went with a tombstone.
    pub pruned: u64,
    pub checkpoints: u64,
    /// Times of the first and of the last record that hold.
    pub first: Option<UtcTime>,
    pub last: Option<UtcTime>,
    /// The last signed checkpoint; everything up to it is proven.
    pub proven_until: Option<Position>,
    /// Records after it that hold, which nobody has signed.
    pub unsigned: u64,
    pub unsigned_since: Option<UtcTime>,
    /// The first record that does not hold. Nothing after it was looked at.
    pub fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    pub seq: u64,
    pub time: UtcTime,
}

/// Where a chain breaks, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub seq: u64,
    /// That of the record, or of the one before when the record itself is not there.
    pub time: Option<UtcTime>,
    #[serde(serialize_with = "as_text")]
    pub what: What,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("records {seq} to {last} are missing, and no tombstone stands for them", last = .next - 1)]
    Missing { seq: u64, next: u64 },
    #[error("record {0} stands where a tombstone says that it was deleted")]
    Reappeared(u64),
    #[error("its number is not one that can follow record {after}")]
    OutOfOrder { after: u64 },
    #[error("the row holds a value of another type than was written, or a longer one")]
    Row,
    #[error("its text is not valid UTF-8")]
    NotText,
    #[error("its hash does not match: the record, or the one before it, was altered")]
    Hash,
    #[error("its text is not in canonical form (from byte {at} on)")]
    NotCanonical { at: usize },
    #[error("its member `{0}` is missing or malformed")]
    Member(&'static str),
    #[error("it is of schema version {0}, which this program does not know: use a newer one")]
    Version(u64),
    #[error("it was written as record {seq} of chain `{chain}`")]
    Moved { chain: Label, seq: u64 },
    #[error("its look-up column `{0}` does not say what the record says")]
    Column(&'static str),
    #[error("the checkpoint does not name the record before it")]
    CheckpointHead,
    #[error("it is signed with the key {found}, not with {expected}")]
    OtherKey { found: Fingerprint, expected: Fingerprint },
    #[error("its signature is not that of the key")]
    Signature,
    #[error("it is signed, and there is no public key to check the signature with")]
    NoKey,
    #[error("the tombstone names impossible ranges")]
    Ranges,
    #[error(
        "the log ends here, but `audit_chain` says that record {said} with hash {hash} is the last: the tail was cut"
    )]
    Cut { said: u64, hash: Hash },
    #[error("`audit_chain` says nothing of this chain, or nothing readable: its row was deleted or altered")]
    NoHead,
    #[error("there are {0} rows more than numbers: rows were doubled")]
    Doubled(u64),
    #[error("no gateway writes a chain of this name")]
    UnknownChain,
}

/// What became of an anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnchorReport {
    pub chain: Label,
    pub seq: u64,
    pub time: UtcTime,
    pub state: AnchorState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorState {
    /// The record is there, with that hash.
    Confirmed,
    /// The record was pruned, so that it cannot be compared.
    Pruned,
    /// The chain breaks before it.
    NotReached,
    /// The log ends before it: its tail was cut.
    Missing,
    /// Another record stands there: the log was written anew.
    Different,
    /// It names another key than the one that was to be used.
    OtherKey,
}

/// Whether the tables that commands list from say what the records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum IndexState {
    Agrees,
    Disagrees {
        table: &'static str,
        what: String,
    },
    /// The records themselves do not hold.
    NotChecked,
}

impl ChainReport {
    pub(super) fn new(chain: Label) -> Self {
        Self {
            chain,
            records: 0,
            pruned: 0,
            checkpoints: 0,
            first: None,
            last: None,
            proven_until: None,
            unsigned: 0,
            unsigned_since: None,
            fault: None,
        }
    }

    pub(super) fn fail(&mut self, seq: u64, what: What) {
        self.fault = Some(Fault { seq, time: self.last, what });
    }
}

impl AnchorReport {
    pub(super) fn new(anchor: &Anchor, state: AnchorState) -> Self {
        let chain = Label::new(anchor.chain.as_str());
        Self { chain, seq: anchor.head.seq, time: anchor.time, state }
    }
}

impl AnchorState {
    /// Whether nothing speaks against the log.
    pub fn holds(self) -> bool {
        matches!(self, Self::Confirmed | Self::Pruned)
    }

    pub(super) fn compare(anchor: Head, found: Hash) -> Self {
        if anchor.hash == found { Self::Confirmed } else { Self::Different }
    }
}

fn as_text<S: serde::Serializer>(what: &What, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(what)
}
