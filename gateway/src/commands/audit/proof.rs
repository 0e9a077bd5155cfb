//! Whether what a report says is proven by the log.

use vmsgate_audit::{Database, verify::Known};
use vmsgate_cli::CliError;

use super::verify::{findings, verified};

/// What a check of the log came to, in words.
#[derive(Debug)]
pub(super) struct ProofStatus {
    pub(super) proven: bool,
    pub(super) lines: Vec<String>,
}

/// Does what `vmsgate audit verify` does with the key that the log itself names.
pub(super) async fn proof_status(database: &Database) -> Result<ProofStatus, CliError> {
    let report = verified(database, &Known::default()).await?;
    let mut lines = findings(&report);
    lines.push(match report.key {
        Some(key) if report.is_signed() || !report.proven => format!(
            "Signed with the key {key}, as the log itself says: compare it with the one that was noted when the gateway \
             was set up, or give a kept checkpoint to `vmsgate audit verify --anchor`."
        ),
        _ => "Nothing in it is signed: anybody could have written it.".to_owned(),
    });
    Ok(ProofStatus { proven: report.proven, lines })
}
