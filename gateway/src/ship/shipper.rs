//! Serves one receiver: reads committed records, sends them, and moves the cursor behind what was received.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use vmsgate_audit::{Chain, Database, Outbox};
use vmsgate_config::Ship;

use super::Phase;
use super::error::ShipError;
use super::receiver::Receiver;
use super::record::Outgoing;
use super::report::Report;
use super::window::{Place, Window};

/// How often the log is looked at for new records: two look-ups by primary key.
const HEAD_POLL: Duration = Duration::from_secs(1);
/// How often what is in flight is looked after.
const FLIGHT_POLL: Duration = Duration::from_millis(200);
/// The same at the end, when somebody waits.
const END_POLL: Duration = Duration::from_millis(10);
/// A cursor is a small write into the database that the log is written to, so it is rare.
const STORE_EVERY: Duration = Duration::from_secs(1);
const BATCH_RECORDS: u32 = 500;
/// Well below what collectors take as one request (1 MiB is a common limit), also after its quotes were escaped.
const BATCH_BYTES: usize = 256 * 1024;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Shipper {
    db: Database,
    gateway: String,
    ship: Ship,
    report: Report,
    phase: watch::Receiver<Phase>,
    outbox: Option<Outbox>,
    wait: Duration,
}

impl Shipper {
    pub fn new(
        db: Database,
        gateway: String,
        ship: Ship,
        report: Report,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self { db, gateway, ship, report, phase, outbox: None, wait: FIRST_WAIT }
    }

    /// Serves the receiver until the gateway ends.
    pub async fn run(mut self) {
        let mut abandoned = self.phase.clone();
        tokio::select! {
            () = self.serve_again_and_again() => {}
            // Also when nobody is left to say so.
            _ = abandoned.wait_for(|phase| *phase == Phase::Abandon) => {}
        }
        if let Some(outbox) = self.outbox.take() {
            outbox.close().await;
        }
    }

    async fn serve_again_and_again(&mut self) {
        while let Err(error) = self.serve().await {
            let text = error.in_full();
            if self.report.failed(text.clone()) {
                let name = &self.ship.name;
                tracing::warn!(receiver = name, error = text, "the audit log is not shipped; trying again");
            }
            let wait = jittered(self.wait).max(error.retry_after().unwrap_or_default());
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
            if self.wait_unless_ending(wait).await {
                return;
            }
        }
    }

    /// Keeps counting how far behind the receiver is. Returns early with true at the end of the gateway, when nobody
    /// waits for a receiver that is away: it gets the rest after the next start.
    async fn wait_unless_ending(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            if let Err(error) = self.count_behind().await {
                tracing::debug!(%error, "how far a receiver is behind is not known");
            }
            let left = until.saturating_duration_since(Instant::now());
            let ending = self.phase.wait_for(|phase| *phase != Phase::Run);
            if tokio::time::timeout(left.min(HEAD_POLL), ending).await.is_ok() {
                return true;
            }
            if left <= HEAD_POLL {
                return false;
            }
        }
    }

    async fn count_behind(&self) -> Result<(), ShipError> {
        let Some(outbox) = &self.outbox else { return Ok(()) };
        let mut behind = 0;
        for chain in chains(&self.gateway) {
            let head = outbox.head(&chain).await?;
            behind += head.seq.saturating_sub(outbox.cursor(&chain).await?);
        }
        self.report.behind(behind);
        Ok(())
    }

    /// Serves the receiver over one connection. Ends well only at the end of the gateway.
    async fn serve(&mut self) -> Result<(), ShipError> {
        let outbox = match self.outbox.take() {
            Some(outbox) => outbox,
            None => Outbox::open(&self.db, &self.ship.name).await?,
        };
        let outbox = self.outbox.insert(outbox);
        // Whatever was in flight on the last connection is sent again.
        let mut cursors = Vec::new();
        for chain in chains(&self.gateway) {
            let seq = outbox.cursor(&chain).await?;
            cursors.push((chain, seq));
        }
        let mut link = Link {
            receiver: Receiver::open(&self.ship, &self.gateway).await?,
            outbox,
            window: Window::new(cursors),
            ship: &self.ship,
            gateway: &self.gateway,
            report: &self.report,
            stored_at: Instant::now(),
        };
        self.report.connected();
        tracing::info!(receiver = self.ship.name, "the audit log is being shipped");
        loop {
            let ending = *self.phase.borrow_and_update() != Phase::Run;
            let sent = link.send().await?;
            if link.settle(ending).await? {
                self.wait = FIRST_WAIT;
            }
            if ending && !sent && link.receiver.all_arrived() {
                return Ok(());
            }
            let pause = match (sent, ending, link.window.is_waiting()) {
                (true, ..) => continue,
                (false, true, _) => END_POLL,
                (false, false, true) => FLIGHT_POLL,
                (false, false, false) => HEAD_POLL,
            };
            tokio::select! {
                error = link.receiver.lost() => return Err(error),
                () = tokio::time::sleep(pause) => {}
                _ = self.phase.changed(), if !ending => {}
            }
        }
    }
}

/// A receiver that is connected, and what it has been served.
struct Link<'a> {
    receiver: Receiver,
    outbox: &'a Outbox,
    window: Window,
    ship: &'a Ship,
    gateway: &'a str,
    report: &'a Report,
    stored_at: Instant,
}

impl Link<'_> {
    /// Sends a batch of each chain that has more. Returns whether there was one.
    async fn send(&mut self) -> Result<bool, ShipError> {
        let (mut more, mut behind) = (Vec::new(), 0);
        for (index, place) in self.window.places().iter().enumerate() {
            let head = self.outbox.head(&place.chain).await?.seq;
            behind += head.saturating_sub(place.received);
            if head > place.sent && self.window.has_room() {
                more.push((index, place.clone()));
            }
        }
        self.report.behind(behind);
        let mut sent = false;
        for (index, place) in more {
            let Some((records, upto)) = self.read(&place).await? else { continue };
            if self.receiver.is_spent() {
                self.receiver = Receiver::open(self.ship, self.gateway).await?;
            }
            let rejected = self.receiver.send(&records).await?;
            self.report.rejected(rejected);
            self.window.sent(index, upto);
            sent = true;
        }
        Ok(sent)
    }

    /// Notes what was received and moves the cursors, now and then or `at_once`. Returns whether they moved.
    async fn settle(&mut self, at_once: bool) -> Result<bool, ShipError> {
        let received = self.receiver.received().await?;
        self.window.received(received);
        let due = at_once || !self.window.is_waiting() || self.stored_at.elapsed() >= STORE_EVERY;
        let cursors = self.window.to_store();
        if cursors.is_empty() || !due {
            return Ok(false);
        }
        self.outbox.advance(cursors).await?;
        self.window.stored();
        self.stored_at = Instant::now();
        Ok(true)
    }

    /// The next batch of a chain: the records that the receiver takes, and the last that was looked at.
    async fn read(&self, place: &Place) -> Result<Option<(Vec<Outgoing>, u64)>, ShipError> {
        let entries = self.outbox.entries(&place.chain, place.sent, BATCH_RECORDS).await?;
        let Some(first) = entries.first() else { return Ok(None) };
        if first.seq > place.sent + 1 {
            let (receiver, chain) = (&self.ship.name, place.chain.as_str());
            let missing = first.seq - place.sent - 1;
            tracing::warn!(receiver, chain, missing, "records were pruned before they were shipped");
        }
        let (mut records, mut upto, mut bytes) = (Vec::new(), place.sent, 0);
        for entry in entries {
            if bytes > 0 && bytes + entry.text.len() > BATCH_BYTES {
                break;
            }
            upto = entry.seq;
            let record = Outgoing::read(&place.chain, entry);
            if self.ship.takes(&record.kind) {
                bytes += record.text.len();
                records.push(record);
            }
        }
        Ok(Some((records, upto)))
    }
}

/// What this gateway ships: its own records and the administrative acts.
fn chains(gateway: &str) -> [Chain; 2] {
    [Chain::gateway(gateway), Chain::admin()]
}

/// Between half and all of it, so that many gateways do not come back at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}
