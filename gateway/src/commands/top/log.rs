//! What the audit log tells beside the status: who was refused what, and the open flows of one client. That it is read is
//! on record once, and once for each client that is looked at.

use jiff::{SignedDuration, Timestamp};
use vmsgate_audit::query::{Filter, denials, flows};
use vmsgate_audit::{Database, Label, UtcTime};
use vmsgate_cli::{CliError, OrFail};

use super::model::Told;
use crate::commands::on_record::{self, Act, Reading};
use crate::commands::{Context, records};

/// Denials before the view was opened that are shown too.
const BEFORE: SignedDuration = SignedDuration::from_mins(10);
/// More than a terminal has lines.
const MOST: u32 = 200;

pub struct Log {
    database: Database,
    since: UtcTime,
    /// Whom the last record of the reading is about.
    noted: Option<Option<String>>,
}

impl Log {
    pub async fn open(context: &Context) -> Result<Log, CliError> {
        let database = records::open(context).await?;
        Ok(Log { database, since: UtcTime::from(Timestamp::now() - BEFORE), noted: None })
    }

    pub async fn read(&mut self, context: &Context, client: Option<&str>) -> Result<Told, CliError> {
        let filter = Filter {
            since: Some(self.since),
            client: client.map(Label::new),
            limit: MOST,
            ..Filter::default()
        };
        let refused = denials(&self.database, &filter).await.or_unexpected("cannot read the audit log")?.rows;
        let mut told = Told { denials: refused, flows: Vec::new() };
        if client.is_some() {
            told.flows =
                flows(&self.database, &filter).await.or_unexpected("cannot read the audit log")?.rows;
            told.flows.retain(|flow| flow.ended.is_none());
        }
        if self.noted.as_ref().map(Option::as_deref) != Some(client) {
            let reading = Reading { rows: (told.denials.len() + told.flows.len()) as u64, filters: &filter };
            on_record::note(context, &self.database, Act::Read, "top", &reading).await?;
            self.noted = Some(client.map(ToOwned::to_owned));
        }
        Ok(told)
    }
}
