//! What is on record about backups.

use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::{Label, Snapshot, append_act, event::Admin};

use super::{Change, Client, Registry, RegistryError};
use crate::{actor::Actor, backup::Backup};

/// Which backup an installation comes from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restoration<'a> {
    /// Its checksum, which is in the record of its making too.
    pub(crate) backup: &'a str,
    pub(crate) made: Timestamp,
    pub(crate) made_by: &'a str,
    pub(crate) clients: usize,
    /// Where the log that the installation had before ended, or a little later.
    pub(crate) checkpoints: &'a [String],
}

/// A record has 16 KiB for all of it.
const MAX_CHECKPOINTS: usize = 32;

impl Registry {
    /// Records that a backup was made. Nothing in the registry changes, so no gateway has to look.
    pub async fn backed_up(&self, backup: &Backup, actor: &Actor) -> Result<(), RegistryError> {
        #[derive(Serialize)]
        struct Made<'a> {
            backup: &'a str,
            made: Timestamp,
        }
        let made = Made { backup: backup.checksum(), made: backup.made() };
        let act = Admin {
            act: Label::new("registry.backup"),
            actor: actor.label(),
            object: Label::new(&self.settings().await?.name),
            before: None,
            after: Some(Snapshot::of(&made)?),
        };
        Ok(append_act(&self.db, act, Timestamp::now().into()).await?)
    }
}

impl Change {
    /// Records where the installation comes from: the first record of its new log.
    pub(crate) fn restored(
        &mut self,
        gateway: &str,
        restoration: &Restoration<'_>,
    ) -> Result<(), RegistryError> {
        let kept = restoration.checkpoints.len().min(MAX_CHECKPOINTS);
        let restoration =
            Restoration { checkpoints: &restoration.checkpoints[..kept], ..restoration.clone() };
        self.record("registry.restore", gateway, None::<&Client>, Some(&restoration))
    }
}
