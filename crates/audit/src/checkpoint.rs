//! Signed checkpoints: what ties a chain to a key, and to copies kept elsewhere.
//!
//! A checkpoint is a record like any other. It names the head that it covers, the record right before it, and signs
//! it. Whoever does not have the secret key cannot compute a chain anew past a checkpoint. Whoever has it can; an
//! [`Anchor`], the short copy of a checkpoint that is kept on another machine or on paper, shows that as well.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    chain::{Chain, Hash, Head},
    signing::{Signature, SigningKey, VerifyingKey},
    text::Fingerprint,
    time::UtcTime,
};

/// The members of an `audit.checkpoint` record; its chain and its time are signed too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last record that is covered: the one before this record.
    pub head_seq: u64,
    pub head_hash: Hash,
    pub key: Fingerprint,
    pub signature: Signature,
}

impl Checkpoint {
    pub(crate) fn sign(key: &SigningKey, chain: &Chain, head: Head, time: UtcTime) -> Self {
        let public = key.verifying_key();
        Self {
            head_seq: head.seq,
            head_hash: head.hash,
            key: public.fingerprint(),
            signature: key.sign(&signed_bytes(chain, head, time, &public)),
        }
    }

    /// Whether `key` signed that `head` was the head of `chain` at `time`.
    pub fn is_signed_by(&self, key: &VerifyingKey, chain: &Chain, time: UtcTime) -> bool {
        let head = Head { seq: self.head_seq, hash: self.head_hash };
        key.verifies(&signed_bytes(chain, head, time, key), &self.signature)
    }
}

/// The first line separates these signatures from any other use of the key. No member can contain a line end.
fn signed_bytes(chain: &Chain, head: Head, time: UtcTime, key: &VerifyingKey) -> Vec<u8> {
    let Head { seq, hash } = head;
    format!("vmsgate audit checkpoint 1\n{}\n{seq}\n{hash}\n{time}\n{key}\n", chain.as_str()).into_bytes()
}

/// A checkpoint as one line to keep elsewhere:
///
/// `vmsgate-checkpoint 1 gateway/gw-1 4711 2026-03-01T09:30:00.125Z SHA256 PUBLICKEY`
///
/// Number, time and hash are those of the checkpoint record itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub chain: Chain,
    pub head: Head,
    pub time: UtcTime,
    pub key: VerifyingKey,
}

impl Anchor {
    const WORD: &str = "vmsgate-checkpoint";

    /// The anchors in a text, which may hold other lines around them (a ticket, a mail).
    ///
    /// # Errors
    /// [`AnchorError`] for a line that begins like an anchor and is none, and for a text without any.
    pub fn read_all(text: &str) -> Result<Vec<Self>, AnchorError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| line.starts_with(Self::WORD));
        let anchors: Vec<Self> = lines
            .map(|(index, line)| line.parse().map_err(|_| AnchorError::Malformed { line: index + 1 }))
            .collect::<Result<_, _>>()?;
        if anchors.is_empty() { Err(AnchorError::None) } else { Ok(anchors) }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, head: Head { seq, hash }, time, key } = self;
        write!(f, "{} 1 {} {seq} {time} {hash} {key}", Self::WORD, chain.as_str())
    }
}

/// Part of an anchor cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedAnchor;

impl FromStr for Anchor {
    type Err = MalformedAnchor;

    /// A chain's name may hold blanks, so it is what is left between the fixed ends.
    fn from_str(line: &str) -> Result<Self, MalformedAnchor> {
        let rest = line.strip_prefix(Self::WORD).and_then(|rest| rest.strip_prefix(" 1 "));
        let mut words = rest.ok_or(MalformedAnchor)?.rsplitn(5, ' ');
        let mut word = || words.next().ok_or(MalformedAnchor);
        let key = word()?.parse().map_err(|_| MalformedAnchor)?;
        let hash = word()?.parse().map_err(|_| MalformedAnchor)?;
        let time = word()?.parse().map_err(|_| MalformedAnchor)?;
        let seq = word()?.parse().map_err(|_| MalformedAnchor)?;
        let chain = Chain::from_name(word()?).ok_or(MalformedAnchor)?;
        Ok(Self { chain, head: Head { seq, hash }, time, key })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error("line {line} is no complete checkpoint line")]
    Malformed { line: usize },
    #[error("there is no checkpoint line in it")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_signature_fits_its_chain_head_time_and_key_alone() {
        let (chain, time) = (Chain::gateway("gw-1"), UtcTime::from_unix_ms(1));
        let head = chain.genesis().extended_by("x");
        let signed = Checkpoint::sign(&key(), &chain, head, time);
        let public = key().verifying_key();
        assert!(signed.is_signed_by(&public, &chain, time));

        let other_key = SigningKey::from_seed(&[8; 32]).verifying_key();
        assert!(!signed.is_signed_by(&other_key, &chain, time));
        assert!(!signed.is_signed_by(&public, &Chain::admin(), time));
        assert!(!signed.is_signed_by(&public, &chain, UtcTime::from_unix_ms(2)));
        assert!(!Checkpoint { head_seq: 2, ..signed.clone() }.is_signed_by(&public, &chain, time));
        let head_hash = chain.genesis().hash;
        assert!(!Checkpoint { head_hash, ..signed }.is_signed_by(&public, &chain, time));
    }

    #[test]
    fn anchors_read_back_from_among_other_lines() {
        let chain = Chain::gateway("gate one");
        let anchor = Anchor {
            head: chain.genesis().extended_by("x"),
            chain,
            time: UtcTime::from_unix_ms(1_772_357_400_125),
            key: key().verifying_key(),
        };
        let ticket = format!("Checkpoints of March:\n\n  {anchor}  \nregards, Anna\n");
        assert_eq!(Anchor::read_all(&ticket), Ok(vec![anchor.clone()]));
        let line = anchor.to_string();
        assert!(line.len() < 200, "{line}");
        assert_eq!(Anchor::read_all(&line[..line.len() - 1]), Err(AnchorError::Malformed { line: 1 }));
        assert_eq!(Anchor::read_all("hello\n"), Err(AnchorError::None));
    }
}
