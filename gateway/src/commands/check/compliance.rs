//! `vmsgate check --compliance`: which measures of `docs/compliance.md` this installation meets, and why not.
//!
//! [`Facts`] are gathered first, from files and the database, which stay as they are; each measure is a pure function
//! of them and the configuration. What cannot be found out is said to be unknown, never met.

mod access;
pub(super) mod facts;
mod log;
mod measure;
mod transmission;

use serde::Serialize;
use vmsgate_cli::{CliError, Exit, Style};
use vmsgate_config::Config;

use self::{
    facts::Facts,
    measure::{Measure, State},
};
use super::super::{Context, counted};

const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Report {
    file: String,
    data: String,
    /// Whether no measure is left unmet.
    ok: bool,
    measures: Vec<Measure>,
}

pub(super) async fn execute(context: &Context) -> Result<Exit, CliError> {
    let config = context.config()?;
    let data = context.data_dir()?;
    let facts = Facts::gather(&config, &data).await?;
    let measures = measures(&config, &facts);
    let ok = measures.iter().all(|measure| measure.state != State::NotMet);
    let printer = &context.printer;
    if printer.is_json() {
        let file = context.installation.config_path().display().to_string();
        let report = Report { file, data: data.path().display().to_string(), ok, measures };
        printer.json(SCHEMA_VERSION, &report)?;
    } else {
        for measure in &measures {
            print(context, measure)?;
        }
        let not_met = measures.iter().filter(|measure| measure.state == State::NotMet).count();
        let unknown = measures.iter().filter(|measure| measure.state == State::Unknown).count();
        let (all, met) = (counted(measures.len(), "measure"), measures.len() - not_met - unknown);
        printer.line(format_args!("{all}: {met} met, {not_met} not met, {unknown} unknown"))?;
    }
    Ok(if ok { Exit::Done } else { Exit::No })
}

fn measures(config: &Config, facts: &Facts) -> Vec<Measure> {
    vec![
        transmission::tunnel(config),
        transmission::tls_to_servers(config),
        transmission::encrypted_receivers(config),
        transmission::post_quantum(config, facts),
        access::expiry(facts),
        access::administrators(config, facts),
        access::secrets(facts),
        log::complete(config),
        log::signed(facts),
        log::anchored(config, facts),
        log::retention(config),
        log::clock(facts),
    ]
}

fn print(context: &Context, measure: &Measure) -> Result<(), CliError> {
    let printer = &context.printer;
    let style = match measure.state {
        State::Met => Style::Good,
        State::NotMet => Style::Error,
        State::Unknown => Style::Warning,
    };
    let state = printer.paint(style, format_args!("{:<8}", measure.state.words()));
    printer.line(format_args!(
        "{state} {}: {} ({})",
        measure.id,
        measure.title,
        measure.controls.join(", ")
    ))?;
    for reason in &measure.reasons {
        printer.line(format_args!("           {}", vmsgate_cli::human::printable(reason)))?;
    }
    if let Some(hint) = measure.hint.filter(|_| measure.state != State::Met) {
        printer.line(format_args!("           hint: {hint}"))?;
    }
    Ok(())
}
