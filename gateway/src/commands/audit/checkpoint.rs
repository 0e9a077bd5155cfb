//! `vmsgate audit checkpoint`

use serde::Serialize;
use vmsgate_audit::{UtcTime, VerifyingKey, verify::newest_checkpoints};
use vmsgate_cli::{CliError, Exit, OrFail};

use super::{super::Context, open};

const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Checkpoints {
    checkpoints: Vec<Checkpoint>,
}

#[derive(Serialize)]
struct Checkpoint {
    chain: String,
    seq: u64,
    time: UtcTime,
    hash: String,
    key: VerifyingKey,
    /// The line to keep.
    line: String,
}

pub async fn execute(context: &Context) -> Result<Exit, CliError> {
    let database = open(context).await?;
    let anchors = newest_checkpoints(&database).await.or_unexpected("cannot read the audit log")?;
    database.close().await;
    if anchors.is_empty() {
        return Err(CliError::user("nothing in the audit log is signed yet")
            .hint("a running gateway signs what is new every minute, and at its stop"));
    }
    let printer = &context.printer;
    if printer.is_json() {
        let checkpoints = anchors.iter().map(|anchor| Checkpoint {
            chain: anchor.chain.as_str().to_owned(),
            seq: anchor.head.seq,
            time: anchor.time,
            hash: anchor.head.hash.to_string(),
            key: anchor.key,
            line: anchor.to_string(),
        });
        printer.json(SCHEMA_VERSION, &Checkpoints { checkpoints: checkpoints.collect() })?;
    } else {
        for anchor in &anchors {
            printer.line(anchor)?;
        }
    }
    Ok(Exit::Done)
}
