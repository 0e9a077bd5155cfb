//! The configuration file: every finding with its line and a hint, and whom of the clients it shuts out.

use serde::Serialize;
use vmsgate_cli::{CliError, Exit, Style};
use vmsgate_config::{Config, ConfigErrors, Finding, Severity};

use super::super::{Context, counted};
use super::post_quantum;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    /// Whether the gateway would take the file.
    ok: bool,
    policy_version: Option<&'a str>,
    /// The roles that require post-quantum keys.
    post_quantum_roles: Vec<&'a str>,
    findings: &'a [Finding],
}

pub(super) async fn execute(context: &Context) -> Result<Exit, CliError> {
    let path = context.installation.config_path();
    let loaded = vmsgate_config::load(path);
    let (config, findings) = match &loaded {
        Ok(config) => {
            let more = post_quantum::findings(&context.installation, config).await;
            (Some(config), [&config.warnings[..], &more].concat())
        }
        Err(ConfigErrors { findings, .. }) => (None, findings.clone()),
    };
    let printer = &context.printer;
    if printer.is_json() {
        let report = Report {
            file: path.display().to_string(),
            ok: config.is_some(),
            policy_version: config.map(|config| config.version.as_str()),
            post_quantum_roles: config.map(post_quantum::roles).unwrap_or_default(),
            findings: &findings,
        };
        printer.json(SCHEMA_VERSION, &report)?;
    } else {
        for finding in &findings {
            let (style, label) = match finding.severity {
                Severity::Error => (Style::Error, "error"),
                Severity::Warning => (Style::Warning, "warning"),
            };
            let label = printer.paint(style, label);
            printer.line(format_args!("{}: {label}: {}", finding.location(), finding.message))?;
            if let Some(hint) = &finding.hint {
                printer.line(format_args!("  hint: {hint}"))?;
            }
        }
        printer.line(format_args!("{}: {}", path.display(), verdict(config, &findings)))?;
    }
    Ok(if config.is_some() { Exit::Done } else { Exit::No })
}

fn verdict(config: Option<&Config>, findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let errors = count(Severity::Error);
    let warnings = match count(Severity::Warning) {
        0 => String::new(),
        warnings => format!(", {}", counted(warnings, "warning")),
    };
    match config {
        Some(config) => format!(
            "valid{warnings}; {}, {}{}, policy version {}",
            counted(config.servers.len(), "server"),
            counted(config.roles.len(), "role"),
            match post_quantum::roles(config)[..] {
                [] => String::new(),
                ref roles => format!(" (post-quantum keys required by {})", roles.join(", ")),
            },
            config.version
        ),
        None => format!("not usable: {}{warnings}", counted(errors, "error")),
    }
}
