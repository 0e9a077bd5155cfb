//! Whether what a report says is proven by the log.

use vmsgate_audit::{Database, chain, entries, export};
use vmsgate_cli::{CliError, OrFail};

use crate::commands::counted;

/// What a check of the log came to, in words.
#[derive(Debug)]
pub(super) struct ProofStatus {
    pub(super) proven: bool,
    pub(super) lines: Vec<String>,
}

const PAGE: u32 = 1000;

/// Goes through every chain from its beginning.
pub(super) async fn proof_status(database: &Database) -> Result<ProofStatus, CliError> {
    let mut status = ProofStatus { proven: true, lines: Vec::new() };
    for (chain, last) in export::chains(database).await.or_unexpected("cannot read the audit log")? {
        let name = chain.as_str();
        match unbroken(database, &chain, last).await? {
            Ok(()) => status.lines.push(format!("Chain {name}: {} unbroken.", counted(last, "record"))),
            Err(broken) => {
                status.proven = false;
                status.lines.push(format!("Chain {name}: {broken}."));
            }
        }
    }
    status.lines.push(
        "The signatures of the checkpoints, and copies of them kept elsewhere, are for vmsgate audit verify to check."
            .to_owned(),
    );
    Ok(status)
}

/// Checks a chain up to the record that is said to be its last; more may follow by now.
async fn unbroken(
    database: &Database,
    chain: &vmsgate_audit::Chain,
    last: u64,
) -> Result<Result<(), String>, CliError> {
    let mut head = chain.genesis();
    while head.seq < last {
        let page =
            entries(database, chain, head.seq, PAGE).await.or_unexpected("cannot read the audit log")?;
        if page.is_empty() {
            return Ok(Err(format!("records {} to {last} are missing", head.seq + 1)));
        }
        match chain::verify(chain, head, page) {
            Ok(next) => head = next,
            Err(broken) => return Ok(Err(broken.to_string())),
        }
    }
    Ok(Ok(()))
}
