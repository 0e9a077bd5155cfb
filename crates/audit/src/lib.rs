//! The durable, tamper-evident record of who used the system, from where, when, and what was refused.
//!
//! # How a record travels
//!
//! 1. The gateway makes a [`Record`]: a time and an [`Event`], each kind with exactly the fields it needs.
//! 2. [`AuditHandle::append`] puts it into a bounded queue. This never blocks, so the packet path may call it.
//! 3. The thread of [`AuditWriter`] takes whole groups from the queue, gives each record the next sequence number of
//!    its [`Chain`], writes its canonical text (see [`canonical`]), links it to its predecessor (see [`chain`]) and
//!    commits the group with one fsync.
//! 4. Every minute and at the stop it signs what it has written: see [`checkpoint`].
//! 5. [`query`] answers `sessions`, `flows`, `denials` and `who` from the same database while the gateway writes;
//!    [`export`] passes whole records on, with [`pseudonym`] in place of names if wanted; [`report`] adds them up.
//!
//! Administrative acts skip the queue: [`append`] writes them inside the transaction of the change that they describe,
//! so that neither exists without the other.
//!
//! # What is where
//!
//! Pure, without sockets, files, threads or clocks: [`time`], [`text`], [`ports`], [`subject`], [`event`], [`record`],
//! [`canonical`], [`chain`], [`signing`], [`checkpoint`], [`tombstone`]. SQL is found in [`db`], `store`, `index`,
//! `recovery`, `signing_key`, `outbox`, [`query`], [`export`], [`verify`] and [`prune`] alone.
//!
//! # When the store fails
//!
//! Nothing is dropped. The writer keeps its group and tries again; [`AuditHandle::accepting`] turns false so that the
//! gateway refuses new flows, while a quarter of the queue stays free for the closing records of live ones. Should
//! even that overflow, the lost records are counted and an `audit.gap` record tells how many and when.

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod db;
pub mod event;
pub mod export;
pub mod ports;
pub mod prune;
pub mod pseudonym;
pub mod query;
pub mod record;
pub mod report;
pub mod retention;
pub mod signing;
pub mod subject;
pub mod text;
pub mod time;
pub mod tombstone;
pub mod verify;

mod group;
mod health;
mod index;
mod outbox;
mod recovery;
mod shared;
mod signing_key;
mod store;
mod writer;

pub use chain::{Chain, Hash, Head, StoredEntry};
pub use checkpoint::{Anchor, Checkpoint};
pub use db::{Create, Database, DbError, WriteTransaction};
pub use event::Event;
pub use health::{Health, HealthState};
pub use outbox::Outbox;
pub use ports::Ports;
pub use record::{Entry, Record};
pub use signing::{Signature, SigningKey, VerifyingKey};
pub use signing_key::{StoredSigningKey, signing_key, store_signing_key};
pub use store::{StoreError, append, append_act, entries, head};
pub use subject::{Destination, FlowSubject, HostPort, Protocol, SessionSubject, Tls, Traffic, Volume};
pub use text::{Fingerprint, Label, Reason, Snapshot};
pub use time::UtcTime;
pub use tombstone::{DeletedRange, Tombstone};
pub use writer::{AuditHandle, AuditWriter, Checkpoints, Durable, Progress, StopError, WriterConfig};
