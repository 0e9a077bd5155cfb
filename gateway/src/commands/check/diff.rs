//! What the file would change for whom, asked of the running gateway.

use hyper::Method;
use serde::Serialize;
use vmsgate_cli::{CliError, Exit, OrFail};

use super::file;
use crate::admin::changes::Proposal;
use crate::commands::{Context, control_socket, difference};
use crate::difference::{Difference, SCHEMA_VERSION};

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a str,
    #[serde(flatten)]
    difference: &'a Difference,
}

pub(super) async fn execute(context: &Context) -> Result<Exit, CliError> {
    let path = context.installation.config_path();
    let text = match vmsgate_config::load(path) {
        // Says all that is wrong with it.
        Err(_) => return file::execute(context).await,
        Ok(_) => std::fs::read_to_string(path).or_user("the configuration cannot be read")?,
    };
    let file = path.display().to_string();
    let proposal = serde_json::to_vec(&Proposal { file: file.clone(), text });
    let proposal = proposal.or_unexpected("cannot write JSON")?;
    let (data, method) = (context.data_dir()?, Method::POST);
    let told: Difference =
        control_socket::ask(&data, method, "/v1/configuration/difference", Some(proposal)).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &Report { file: &file, difference: &told })?;
    } else {
        let Difference { gateway, policy_in_force, policy_version, .. } = &told;
        printer.line(format_args!(
            "policy {policy_in_force} is in force on {gateway}; {file} has {policy_version}"
        ))?;
        difference::print(printer, &told, difference::When::Ahead)?;
    }
    Ok(if told.concerns_nobody() { Exit::Done } else { Exit::No })
}
