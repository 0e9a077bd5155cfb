//! Administrative acts of the period.

use super::{Act, Report};
use crate::{
    chain::Chain,
    db::Database,
    event::{Admin, Event},
    export::{Subject, clients_of},
    record::Entry,
    store::{StoreError, entries},
    time::UtcTime,
};

/// A report is for reading; beyond this many acts an export is the better answer.
const LISTED: usize = 1000;
const PAGE: u32 = 500;

impl Report {
    /// Of a server there are none: acts are on clients, keys and the log.
    pub(super) async fn add_acts(&mut self, db: &Database) -> Result<(), StoreError> {
        if self.scope.server.is_some() {
            return Ok(());
        }
        let operator = self.scope.operator.clone();
        let mut subject = match &operator {
            Some(operator) => Some(Subject::new(operator, &clients_of(db, operator).await?)),
            None => None,
        };
        let mut after = 0;
        loop {
            let page = entries(db, &Chain::admin(), after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for stored in &page {
                let Ok(entry) = Entry::parse(&stored.text) else {
                    self.unreadable += 1;
                    continue;
                };
                let about_subject = subject.as_mut().is_none_or(|subject| subject.includes(&entry));
                if let (true, Event::Admin(admin)) = (about_subject, entry.record.event) {
                    self.add_act(entry.record.time, admin);
                }
            }
        }
        let older = self.acts.len().saturating_sub(LISTED);
        self.acts.drain(..older);
        self.older_acts = older as u64;
        Ok(())
    }

    fn add_act(&mut self, time: UtcTime, admin: Admin) {
        let of_client = self.scope.client.as_ref().is_none_or(|client| admin.object == *client);
        if !of_client || time < self.scope.since || self.scope.until <= time {
            return;
        }
        let Admin { act, actor, object, before, after } = admin;
        match act.as_str() {
            "audit.read" | "audit.export" | "audit.report" => {
                *self.reads.entry((actor, object)).or_default() += 1;
            }
            _ => self.acts.push(Act { time, actor, act, object, before, after }),
        }
    }
}
