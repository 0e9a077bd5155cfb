//! A log to ship, and receivers of it to configure.

use std::time::Duration;

use tempfile::TempDir;
use vmsgate_audit::event::Admin;
use vmsgate_audit::{Chain, Create, Database, Event, Label, Outbox, Record, UtcTime, append};
use vmsgate_config::Ship;

use super::super::{ShipStatus, Shipping};

/// Nothing here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Log {
    pub db: Database,
    _directory: TempDir,
}

impl Log {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(&directory.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        Self { db, _directory: directory }
    }

    /// Appends records whose text tries to look like the end of a message and the start of another.
    pub async fn append(&self, chain: &Chain, records: u32) -> u64 {
        let record = |number| {
            let admin = Admin {
                act: Label::new("client.add"),
                actor: Label::new("\"] \\ <34>1 - - - - - - x\n7 <34>1 \u{e4}\u{1f4f7}"),
                object: Label::new(&format!("client-{number}")),
                before: None,
                after: None,
            };
            Record::new(UtcTime::from_unix_ms(1_772_357_400_000 + i64::from(number)), Event::Admin(admin))
        };
        let records: Vec<Record> = (0..records).map(record).collect();
        let mut tx = self.db.begin_write().await.unwrap();
        let head = append(&mut tx, chain, &records).await.unwrap();
        self.db.commit(tx).await.unwrap();
        head.seq
    }

    /// The texts of a chain, by sequence number from 1.
    pub async fn texts(&self, chain: &Chain) -> Vec<String> {
        let entries = vmsgate_audit::entries(&self.db, chain, 0, u32::MAX).await.unwrap();
        entries.into_iter().map(|entry| entry.text).collect()
    }

    pub fn ship(&self, ships: &[Ship]) -> Shipping {
        Shipping::start(&self.db, "gw-1", ships).unwrap()
    }

    /// Waits until the durable cursor of `name` is at `seq`.
    pub async fn cursor_at(&self, name: &str, chain: &Chain, seq: u64) {
        let outbox = Outbox::open(&self.db, name).await.unwrap();
        let moved = async {
            while outbox.cursor(chain).await.unwrap() != seq {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, moved).await.expect("the cursor moves");
    }
}

pub fn gateway() -> Chain {
    Chain::gateway("gw-1")
}

pub fn ship(name: &str, to: &str) -> Ship {
    Ship { name: name.to_owned(), to: to.parse().unwrap(), headers_file: None, kinds: Vec::new() }
}

/// Waits until the status of the only receiver is as wanted.
pub async fn status(shipping: &Shipping, wanted: impl Fn(&ShipStatus) -> bool) -> ShipStatus {
    let reached = async {
        loop {
            let status = shipping.status().remove(0);
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let last = || format!("the status is reached, not {:?}", shipping.status());
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{}", last()))
}
