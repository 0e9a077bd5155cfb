//! Flags with the same name and meaning in every program.
//!
//! Flatten them into the top-level parser; all are global, so they may stand before or after a subcommand.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::table::printable;

/// Where the configuration is unless a flag or the environment says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/vmsgate/gateway.toml";
/// Where the data directory is unless a flag, the environment or the configuration says otherwise.
pub const DEFAULT_DATA: &str = "/var/lib/vmsgate";

/// How a command reports.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print one JSON document with a schema_version instead of text for people
    #[arg(long, global = true)]
    pub json: bool,

    /// Print data, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Log more; twice for still more (RUST_LOG overrides it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log as text or as JSON objects [default: text on a terminal, json otherwise]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The two forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Which installation a command works on.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Installation")]
pub struct InstallationArgs {
    /// Configuration file [default: /etc/vmsgate/gateway.toml]
    #[arg(short, long, global = true, env = "VMSGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Data directory [default: `data` of the configuration, or /var/lib/vmsgate]
    #[arg(long, global = true, env = "VMSGATE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// File whose first line is the passphrase of the keystore
    #[arg(long, global = true, env = "VMSGATE_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// For automation: the person it acts for. Records show both, the operating system's user and this name
    #[arg(long, global = true, env = "VMSGATE_ACTOR", value_name = "PERSON", value_parser = person)]
    pub actor: Option<String>,
}

impl InstallationArgs {
    /// The configuration file; whether it must exist is for the command to say.
    pub fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    /// The data directory: flag, then environment, then configuration, then default.
    pub fn data_dir(&self, configured: Option<&Path>) -> PathBuf {
        self.data.as_deref().or(configured).unwrap_or(Path::new(DEFAULT_DATA)).to_owned()
    }
}

/// The longest name of a person: what a directory or a mail address needs, and no more than a record has room for.
const LONGEST_PERSON: usize = 128;

/// A name that stays on its line and does not disguise what stands around it.
fn person(text: &str) -> Result<String, String> {
    if text.trim() != text || text.is_empty() {
        return Err("give a name, without blanks around it".to_owned());
    }
    if text.len() > LONGEST_PERSON {
        return Err(format!("a name has at most {LONGEST_PERSON} bytes, this one {}", text.len()));
    }
    if printable(text) != text {
        return Err("a name is one line of printable characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        installation: InstallationArgs,
    }

    #[test]
    fn the_flag_wins_over_the_configuration_and_that_over_the_default() {
        let plain = Program::parse_from(["vmsgate"]);
        let flagged = Program::parse_from(["vmsgate", "--data", "/srv/gate", "-vv", "-q"]);
        let configured = Some(Path::new("/data"));

        assert_eq!(plain.installation.data_dir(None), Path::new(DEFAULT_DATA));
        assert_eq!(plain.installation.data_dir(configured), Path::new("/data"));
        assert_eq!(flagged.installation.data_dir(configured), Path::new("/srv/gate"));
        assert_eq!((flagged.output.verbose, flagged.output.quiet), (2, true));
    }

    #[test]
    fn a_person_is_one_printable_line_of_bounded_length() {
        assert_eq!(person("anna@example.org").as_deref(), Ok("anna@example.org"));
        assert_eq!(person("Jürgen Groß").as_deref(), Ok("Jürgen Groß"));
        for text in ["", " ", " anna", "anna\nroot (uid 0)", "an\u{202e}na", &"a".repeat(129)] {
            assert!(person(text).is_err(), "{text:?}");
        }
    }
}
