//! Logging to stderr: text on a terminal, one JSON object per line otherwise.
//!
//! A log tells how the program is doing. Who accessed what is no matter for the log: that is in the audit log,
//! which is complete and tamper-evident. A place in the program that repeats itself is cut short.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    args::{LogFormat, OutputArgs},
    limit::Limited,
    printer::colour_allowed,
};

/// What a program logs when nobody asks for more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Short commands: only what is wrong.
    Warnings,
    /// Programs that keep running: their milestones too.
    Milestones,
}

/// Starts logging, once per process. `RUST_LOG` overrides everything; `-v` adds detail, `-q` leaves errors only.
///
/// A second call changes nothing, so tests may call it freely.
pub fn init(args: &OutputArgs, default: Verbosity) {
    let filter = filter(args, default);
    let terminal = io::stderr().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => {
            let builder = builder.with_ansi(colour_allowed(terminal));
            builder.map_event_format(|inner| Limited::new(inner, format)).try_init()
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            builder.map_event_format(|inner| Limited::new(inner, format)).try_init()
        }
    };
}

/// The same for a program that has the whole screen to itself: lines without time and colour, each written to one
/// `writer`.
pub fn init_into<W: io::Write>(
    args: &OutputArgs,
    default: Verbosity,
    writer: impl Fn() -> W + Send + Sync + 'static,
) {
    let builder = fmt().with_env_filter(filter(args, default)).with_writer(writer);
    let _ = builder.with_ansi(false).with_target(false).without_time().try_init();
}

fn filter(args: &OutputArgs, default: Verbosity) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives(args, default)))
}

/// Libraries stay at warnings until the second `-v`. boringtun reports every stray packet of the internet and
/// sqlx every slow statement; what matters of either reaches our own counters.
fn directives(args: &OutputArgs, default: Verbosity) -> String {
    let (ours, libraries) = match (args.quiet, args.verbose, default) {
        (true, ..) => ("error", "error"),
        (false, 0, Verbosity::Warnings) => ("warn", "warn"),
        (false, 0, Verbosity::Milestones) => ("info", "warn"),
        (false, 1, _) => ("debug", "warn"),
        (false, _, _) => ("trace", "debug"),
    };
    let own = ["vmsgate", "vmsgate_audit", "vmsgate_cli", "vmsgate_config", "vmsgate_keys", "vmsgate_netio"];
    let own = own.iter().chain(&["vmsgate_pump", "vmsgate_shim", "vmsgate_tunnel"]);
    let own: String = own.map(|target| format!(",{target}={ours}")).collect();
    format!("{libraries}{own},boringtun=off,sqlx=error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_flags_is_a_valid_filter() {
        for (quiet, verbose) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 9)] {
            for default in [Verbosity::Warnings, Verbosity::Milestones] {
                let args = OutputArgs { quiet, verbose, ..OutputArgs::default() };
                assert!(EnvFilter::try_new(directives(&args, default)).is_ok());
            }
        }
    }

    #[test]
    fn the_protocol_library_stays_silent_at_any_verbosity() {
        let args = OutputArgs { verbose: 2, ..OutputArgs::default() };

        assert!(directives(&args, Verbosity::Milestones).contains("boringtun=off"));
    }
}
