//! Follows one chain, record by record.

use std::collections::BTreeMap;

use super::{
    lookup::{Columns, Follower, Role},
    members::Member,
    report::{AnchorReport, AnchorState, ChainReport, Position, What},
    rows::{BadRow, Reader, RecordRow},
    scan::scan,
};
use crate::{
    chain::{Chain, Head},
    checkpoint::{Anchor, Checkpoint},
    event::Event,
    record::{Entry, SCHEMA_VERSION},
    signing::VerifyingKey,
    text::{Fingerprint, Label},
    time::UtcTime,
    tombstone::{DeletedRange, Tombstone},
};

/// The state of the walk along one chain.
pub(super) struct Walk<'a> {
    chain: &'a Chain,
    key: Option<VerifyingKey>,
    head: Head,
    /// What validly signed tombstones stand for, by the first number.
    deleted: BTreeMap<u64, DeletedRange>,
    anchors: Vec<(&'a Anchor, Option<AnchorState>)>,
    report: ChainReport,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        chain: &'a Chain,
        key: Option<VerifyingKey>,
        anchors: impl IntoIterator<Item = &'a Anchor>,
        tombstones: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let mut deleted = BTreeMap::<u64, DeletedRange>::new();
        for entry in tombstones {
            // One that is not in order is found when the walk comes to it.
            let Event::Tombstone(tombstone) = &entry.record.event else { continue };
            if key.is_none_or(|key| check_tombstone(chain, &key, &entry, tombstone).is_err()) {
                continue;
            }
            for range in &tombstone.ranges {
                let known = deleted.entry(range.first).or_insert(*range);
                if known.last < range.last {
                    *known = *range;
                }
            }
        }
        let anchors = anchors.into_iter().map(|anchor| (anchor, None)).collect();
        let report = ChainReport::new(Label::new(chain.as_str()));
        Self { chain, key, head: chain.genesis(), deleted, anchors, report }
    }

    /// Checks a batch. False at the first record that does not hold; the report then names it.
    pub(super) fn check(&mut self, mut rows: Reader<'_>, follower: &mut Follower) -> bool {
        while !rows.is_done() {
            let next = self.head.seq + 1;
            let (seq, outcome) = match rows.record() {
                Ok(row) => (row.seq, self.step(&row, follower)),
                Err(BadRow::Type) => (next, Err(What::Row)),
                Err(BadRow::NotText) => (next, Err(What::NotText)),
            };
            if let Err(what) = outcome {
                let seq = if let What::Missing { seq, .. } = what { seq } else { seq };
                self.report.fail(seq, what);
                return false;
            }
        }
        true
    }

    /// Ends the walk: `stored` is what `audit_chain` says is the head, `rows` how many there are.
    pub(super) fn finish(mut self, stored: Option<Head>, rows: u64) -> (ChainReport, Vec<AnchorReport>) {
        if self.report.fault.is_none() {
            match stored {
                Some(head) if head == self.head => {}
                Some(head) => self.report.fail(self.head.seq, What::Cut { said: head.seq, hash: head.hash }),
                None => self.report.fail(self.head.seq, What::NoHead),
            }
            if let Some(more) = rows.checked_sub(self.report.records).filter(|more| *more > 0) {
                self.report.fail(self.head.seq, What::Doubled(more));
            }
        }
        let broken = self.report.fault.is_some();
        let state_of = |anchor: &Anchor, seen: Option<AnchorState>| match seen {
            _ if self.key != Some(anchor.key) => AnchorState::OtherKey,
            Some(state) => state,
            // A record that is there, but is no checkpoint.
            None if anchor.head.seq <= self.head.seq => AnchorState::Different,
            None if broken => AnchorState::NotReached,
            None => AnchorState::Missing,
        };
        let anchors =
            self.anchors.iter().map(|(anchor, seen)| AnchorReport::new(anchor, state_of(anchor, *seen)));
        (self.report, anchors.collect())
    }

    fn step(&mut self, row: &RecordRow<'_>, follower: &mut Follower) -> Result<(), What> {
        self.skip_deleted(row.seq)?;
        let head = self.head.extended_by(row.body);
        if row.hash.parse() != Ok(head.hash) {
            return Err(What::Hash);
        }
        let members = scan(row.body).map_err(|error| What::NotCanonical { at: error.at })?;
        match members.number(Member::SchemaVersion) {
            Some(SCHEMA_VERSION) => {}
            Some(version) => return Err(What::Version(version)),
            None => return Err(What::Member("schema_version")),
        }
        let chain = members.text(Member::Chain).ok_or(What::Member("chain"))?;
        let seq = members.number(Member::Seq).ok_or(What::Member("seq"))?;
        if seq != row.seq || chain != self.chain.as_str() {
            return Err(What::Moved { chain: Label::new(&chain), seq });
        }
        let time_ms = members.time_ms(Member::Time).ok_or(What::Member("time"))?;
        if time_ms != row.time_ms {
            return Err(What::Column("time_ms"));
        }
        let kind = members.text(Member::Kind).ok_or(What::Member("kind"))?;
        if kind != row.kind {
            return Err(What::Column("kind"));
        }
        let role = Role::of(&kind);
        let columns = Columns::of(role, &members)?;
        if role != Role::Unknown {
            columns.compare(row)?;
        }
        match &*kind {
            "audit.checkpoint" | "audit.tombstone" => self.check_signed(row)?,
            _ => follower.follow(role, (&chain, seq, time_ms), &members, &columns)?,
        }
        self.take(head, UtcTime::from_unix_ms(time_ms), &kind);
        Ok(())
    }

    /// Goes on across what was deleted, up to the record before `seq`.
    fn skip_deleted(&mut self, seq: u64) -> Result<(), What> {
        while self.head.seq + 1 < seq {
            let Some(range) = self.deleted.get(&(self.head.seq + 1)) else {
                return Err(What::Missing { seq: self.head.seq + 1, next: seq });
            };
            if range.last >= seq {
                return Err(What::Reappeared(seq));
            }
            self.report.pruned += range.last - self.head.seq;
            for (anchor, state) in &mut self.anchors {
                if (range.first..range.last).contains(&anchor.head.seq) {
                    *state = Some(AnchorState::Pruned);
                } else if anchor.head.seq == range.last {
                    *state = Some(AnchorState::compare(anchor.head, range.hash));
                }
            }
            self.head = Head { seq: range.last, hash: range.hash };
        }
        if self.head.seq + 1 == seq { Ok(()) } else { Err(What::OutOfOrder { after: self.head.seq }) }
    }

    fn check_signed(&self, row: &RecordRow<'_>) -> Result<(), What> {
        let entry = Entry::parse(row.body).map_err(|_| What::Member("signature"))?;
        let key = self.key.ok_or(What::NoKey)?;
        match &entry.record.event {
            Event::Checkpoint(checkpoint) => self.check_checkpoint(&key, &entry, checkpoint),
            Event::Tombstone(tombstone) => check_tombstone(self.chain, &key, &entry, tombstone),
            _ => Err(What::Member("kind")),
        }
    }

    fn check_checkpoint(
        &self,
        key: &VerifyingKey,
        entry: &Entry,
        checkpoint: &Checkpoint,
    ) -> Result<(), What> {
        if (checkpoint.head_seq, checkpoint.head_hash) != (self.head.seq, self.head.hash) {
            return Err(What::CheckpointHead);
        }
        expect_key(key, &checkpoint.key)?;
        let signed = checkpoint.is_signed_by(key, self.chain, entry.record.time);
        if signed { Ok(()) } else { Err(What::Signature) }
    }

    /// Notes a record that holds.
    fn take(&mut self, head: Head, time: UtcTime, kind: &str) {
        let report = &mut self.report;
        report.records += 1;
        report.first.get_or_insert(time);
        report.last = Some(time);
        if kind == "audit.checkpoint" {
            report.checkpoints += 1;
            report.proven_until = Some(Position { seq: head.seq, time });
            (report.unsigned, report.unsigned_since) = (0, None);
            for (anchor, state) in self.anchors.iter_mut().filter(|(anchor, _)| anchor.head.seq == head.seq) {
                *state = Some(AnchorState::compare(anchor.head, head.hash));
            }
        } else {
            report.unsigned += 1;
            report.unsigned_since.get_or_insert(time);
        }
        self.head = head;
    }
}

fn check_tombstone(
    chain: &Chain,
    key: &VerifyingKey,
    entry: &Entry,
    tombstone: &Tombstone,
) -> Result<(), What> {
    expect_key(key, &tombstone.key)?;
    if !tombstone.is_signed_by(key, chain, entry.record.time) {
        return Err(What::Signature);
    }
    if tombstone.is_well_formed(entry.seq) { Ok(()) } else { Err(What::Ranges) }
}

fn expect_key(key: &VerifyingKey, found: &Fingerprint) -> Result<(), What> {
    let expected = key.fingerprint();
    if *found == expected { Ok(()) } else { Err(What::OtherKey { found: found.clone(), expected }) }
}
