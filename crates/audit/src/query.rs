//! The questions behind `vmsgate sessions`, `flows`, `denials` and `who`.
//!
//! The listings read while the gateway writes. Each is a walk down one index, newest first, that ends after
//! [`Filter::limit`] rows: its cost does not grow with the log. What a row shows comes from the chained record itself;
//! only the times to find it by, and the counters of what is still open, come from the index beside it.
//!
//! Sessions and flows are listed if they were open at any moment between `since` and `until`: those still open first,
//! then by their end. Denials are listed by the time of their record, and the flows of one session by their number.
//!
//! A filter by reason is the one that reads the records it passes over: no index holds reasons. Give it a time range.

mod acts;
mod denials;
mod flows;
mod select;
mod sessions;
mod who;

use serde::Serialize;
use uuid::Uuid;

use crate::{text::Label, time::UtcTime};

pub use acts::last_act;
pub use denials::{DenialRow, denials, each_denial};
pub use flows::{FlowRow, each_flow, flows};
pub(crate) use sessions::each_session;
pub use sessions::{SessionRow, sessions};
pub use who::{Candidate, Certainty, SeenAs, Sighting, who};

/// The version of the JSON that a [`Listing`] becomes. Members may be added within a version.
pub const SCHEMA_VERSION: u64 = 1;

/// Which rows to list. What is none does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<UtcTime>,
    /// Not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Label>,
    /// The name of a server, or the address of a machine that is no configured server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// Why it ended or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Label>,
    /// At most so many rows.
    pub limit: u32,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing<Row> {
    pub schema_version: u64,
    pub rows: Vec<Row>,
    /// There are more rows than the limit allowed.
    pub truncated: bool,
    /// Rows left out because their record is missing or was altered: a sign of tampering or of a damaged disk.
    pub unreadable: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Create;

    /// Every combination of filters: each must walk an index in the order of the listing.
    #[tokio::test]
    async fn no_question_scans_or_sorts_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let db = crate::Database::open(&dir.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        for bits in 0..128_u8 {
            let given = |bit: u8| bits & (1 << bit) != 0;
            let name = |bit| given(bit).then(|| Label::new("x"));
            let filter = Filter {
                since: given(0).then(|| UtcTime::from_unix_ms(1)),
                until: given(1).then(|| UtcTime::from_unix_ms(2)),
                client: name(2),
                operator: name(3),
                server: name(4),
                session: given(5).then(Uuid::nil),
                reason: name(6),
                limit: 10,
            };
            for select in [sessions::select(&filter), flows::select(&filter), denials::select(&filter)] {
                let plan = select.plan(&db).await;
                let unbounded = |step: &String| step.starts_with("SCAN") && !step.contains("USING INDEX");
                let slow = plan.iter().find(|step| unbounded(step) || step.contains("TEMP B-TREE"));
                assert!(slow.is_none(), "{filter:?}: {plan:#?}");
            }
        }
        let sighting = Sighting {
            address: "192.0.2.1".parse().unwrap(),
            port: Some(1),
            at: UtcTime::from_unix_ms(1),
            within: std::time::Duration::ZERO,
            limit: 10,
        };
        for select in who::all_selects(&sighting) {
            let plan = select.plan(&db).await;
            let by_condition = |step: &String| step.starts_with("SEARCH");
            assert!(plan.iter().all(by_condition), "{plan:#?}");
        }
    }
}
