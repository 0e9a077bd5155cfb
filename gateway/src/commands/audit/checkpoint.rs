//! `vmsgate audit checkpoint`

use serde::Serialize;
use vmsgate_audit::{UtcTime, VerifyingKey, verify::newest_checkpoints};
use vmsgate_cli::{CliError, Exit, OrFail};

use super::super::{
    Context,
    on_record::{self, Act, Reading},
    records,
};

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
    let database = records::open(context).await?;
    let anchors = newest_checkpoints(&database).await.or_unexpected("cannot read the audit log")?;
    if anchors.is_empty() {
        database.close().await;
        return Err(CliError::user("nothing in the audit log is signed yet")
            .hint("a running gateway signs what is new every minute, and at its stop"));
    }
    // Whoever asks later whether a copy was taken finds it here.
    let reading = Reading { filters: (), rows: anchors.len() as u64 };
    on_record::note(context, &database, Act::Checkpoint, "audit checkpoint", &reading).await?;
    database.close().await;
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
