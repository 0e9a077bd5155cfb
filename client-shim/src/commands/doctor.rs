//! `vmsgate-shim doctor`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use vmsgate_cli::args::OutputArgs;
use vmsgate_cli::{CliError, Exit, Printer, Style, human};
use vmsgate_shim::doctor::{Finding, Id, Verdict};
use vmsgate_shim::report::SCHEMA_VERSION;
use vmsgate_shim::{Profile, Shim};

use super::status::refused;
use super::up::{self, claim};
use crate::cli::InstanceArgs;
use crate::instance::{self, Examination, InstanceError};

/// The order of the counts at the end.
const COUNTED: [Verdict; 5] =
    [Verdict::Problem, Verdict::Warning, Verdict::Note, Verdict::Skipped, Verdict::Ok];
/// So many subjects that are all well are named; more are counted.
const NAMED: usize = 3;

pub fn execute(args: &InstanceArgs, output: &OutputArgs, printer: &Printer) -> Result<Exit, CliError> {
    let waiting = Waiting::begin(output);
    waiting.tell("asking the running shim to look at everything");
    let examination = match (instance::examine(args.profile.as_deref()), &args.profile) {
        (Ok(examination), _) => examination,
        (Err(InstanceError::NotRunning(_)), Some(profile)) => alone(profile, &waiting, printer)?,
        (Err(error @ InstanceError::NoneRuns), None) => {
            let hint = "name the profile's file: vmsgate-shim doctor PROFILE";
            return Err(CliError::user(error).hint(hint));
        }
        (Err(error), _) => return Err(refused(error)),
    };
    drop(waiting);
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &Document::new(&examination))?;
    } else {
        print(&examination, printer)?;
    }
    let has_problem = examination.findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    Ok(if has_problem { Exit::No } else { Exit::Done })
}

/// Opens the tunnel for the examination alone.
fn alone(path: &Path, waiting: &Waiting, printer: &Printer) -> Result<Examination, CliError> {
    // One that others can read is not refused: that is a finding.
    let profile = Profile::read(path).map_err(up::refused)?;
    super::on_this_thread(async {
        // A shim that starts meanwhile would take the tunnel away.
        let _instance = claim(&profile, printer)?;
        let name = profile.name.clone();
        // What happens is asked for, not waited for.
        let (tell, _) = mpsc::unbounded_channel();
        let shim = Shim::start_without_listeners(profile, tell);
        let findings = shim.doctor().examine(|what| waiting.tell(&format!("looking at {what}"))).await;
        shim.stop().await;
        Ok(Examination::new(name, findings))
    })?
}

/// What goes on meanwhile, on standard error: a line that moves on a terminal.
struct Waiting(Option<ProgressBar>);

impl Waiting {
    fn begin(output: &OutputArgs) -> Self {
        let live = io::stderr().is_terminal() && !output.quiet;
        Self(live.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {wide_msg}")
                    .unwrap_or(ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }

    fn tell(&self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(human::printable(what));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// How many findings have each verdict.
fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

/// The page as JSON.
#[derive(serde::Serialize)]
struct Document<'e> {
    profile: &'e str,
    problems: usize,
    warnings: usize,
    findings: &'e [Finding],
}

impl<'e> Document<'e> {
    fn new(Examination { profile, findings, .. }: &'e Examination) -> Self {
        let of = |verdict| count(findings, verdict);
        Self { profile, problems: of(Verdict::Problem), warnings: of(Verdict::Warning), findings }
    }
}

fn print(Examination { findings, .. }: &Examination, printer: &Printer) -> io::Result<()> {
    for id in Id::ALL {
        let of_id: Vec<&Finding> = findings.iter().filter(|finding| finding.id == *id).collect();
        let well = of_id.iter().filter(|finding| finding.verdict == Verdict::Ok).count();
        for finding in of_id.iter().filter(|finding| finding.verdict != Verdict::Ok || well <= NAMED) {
            print_one(finding, printer)?;
        }
        if well > NAMED {
            line(*id, Verdict::Ok, &format!("{well} of {} are well", of_id.len()), printer)?;
        }
    }
    let counts = COUNTED.into_iter().filter_map(|verdict| match count(findings, verdict) {
        0 => None,
        1 => Some(format!("1 {}", verdict.as_str())),
        n => Some(format!("{n} {}", plural(verdict))),
    });
    printer.line("")?;
    printer.line(counts.collect::<Vec<_>>().join(", "))
}

fn print_one(finding: &Finding, printer: &Printer) -> io::Result<()> {
    let subject = finding.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
    line(finding.id, finding.verdict, &format!("{subject}{}", finding.message), printer)?;
    if let Some(advice) = &finding.advice {
        let hint = printer.paint(Style::Note, "hint:");
        printer.line(format_args!("{:<9}{hint} {}", "", human::printable(advice)))?;
    }
    Ok(())
}

fn line(id: Id, verdict: Verdict, text: &str, printer: &Printer) -> io::Result<()> {
    let style = match verdict {
        Verdict::Ok => Style::Good,
        Verdict::Note => Style::Note,
        Verdict::Warning => Style::Warning,
        Verdict::Problem => Style::Error,
        Verdict::Skipped => Style::Faint,
    };
    // Padded before it is painted: colours have no width.
    let verdict = printer.paint(style, format!("{:<8}", verdict.as_str()));
    printer.line(format_args!("{verdict} {id:<21} {}", human::printable(text)))
}

fn plural(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "notes",
        Verdict::Warning => "warnings",
        Verdict::Problem => "problems",
        Verdict::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn examination(findings: serde_json::Value) -> Examination {
        serde_json::from_value(json!({"schema_version": 1, "profile": "alice", "findings": findings}))
            .unwrap()
    }

    fn printed(findings: serde_json::Value) -> String {
        let (printer, out, _) = Printer::captured(&OutputArgs::default());
        print(&examination(findings), &printer).unwrap();
        out.text()
    }

    #[test]
    fn a_page_lists_each_finding_with_what_to_do_and_ends_with_a_count() {
        let text = printed(json!([
            {"id": "endpoint.resolves", "verdict": "ok", "subject": "vpn.example.org:51820", "message": "is 198.51.100.10"},
            {"id": "clock.offset", "verdict": "warning", "message": "\u{1b}[2J", "advice": "set it"},
            {"id": "path.loss", "verdict": "skipped", "message": "no answer"},
        ]));
        assert_eq!(
            text,
            "ok       endpoint.resolves     vpn.example.org:51820: is 198.51.100.10\n\
             warning  clock.offset          \\u{1b}[2J\n         hint: set it\n\
             skipped  path.loss             no answer\n\n\
             1 warning, 1 skipped, 1 ok\n"
        );
    }

    #[test]
    fn many_subjects_that_are_well_are_counted_and_the_others_named() {
        let services = (0..9).map(|n| {
            let verdict = if n == 4 { "problem" } else { "ok" };
            json!({"id": "service.answers", "verdict": verdict, "subject": format!("rec{n}:7563"), "message": "m"})
        });
        let text = printed(services.collect());
        assert_eq!(
            text,
            "problem  service.answers       rec4:7563: m\n\
             ok       service.answers       8 of 9 are well\n\n\
             1 problem, 8 ok\n"
        );
    }
}
