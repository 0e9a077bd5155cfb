//! `vmsgate reload`

use hyper::Method;
use vmsgate_cli::{CliError, Exit, Style};

use super::{Context, control_socket, difference};
use crate::admin::changes::ReloadReport;
use crate::difference::SCHEMA_VERSION;

pub async fn execute(context: &Context) -> Result<Exit, CliError> {
    let (data, method) = (context.data_dir()?, Method::POST);
    let report: ReloadReport = control_socket::ask(&data, method, "/v1/configuration/reload", None).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &report)?;
    } else if let Some(told) = &report.difference {
        let (good, version) = (printer.paint(Style::Good, "in force"), &told.policy_version);
        printer.line(format_args!("{good}: policy {version} on {}", told.gateway))?;
        difference::print(printer, told, difference::When::Past)?;
    } else {
        for error in &report.errors {
            printer.line(error)?;
        }
        let refused = printer.paint(Style::Error, "refused");
        printer.line(format_args!("{refused}: the old configuration stays in force"))?;
    }
    Ok(if report.in_force { Exit::Done } else { Exit::No })
}
