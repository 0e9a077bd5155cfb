//! One file per subcommand, and what they share.

use std::cell::RefCell;

use vmsgate_audit::Database;
use vmsgate_cli::{CliError, Printer, WithHint, args::InstallationArgs};
use vmsgate_config::{Config, Finding};
use vmsgate_keys::{Actor, DataDir, Passphrase};

pub mod audit;
pub mod check;
mod control_socket;
pub mod demo;
pub mod denials;
mod difference;
pub mod explain;
pub mod first_start;
pub mod flows;
pub mod health;
pub mod on_record;
pub mod policy;
pub mod records;
pub mod reload;
pub mod run;
pub mod sessions;
pub mod status;
pub mod top;
pub mod who;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    pub installation: InstallationArgs,
    pub printer: Printer,
    opened: RefCell<Vec<Database>>,
}

impl Context {
    pub fn new(installation: InstallationArgs, printer: Printer) -> Self {
        Self { installation, printer, opened: RefCell::default() }
    }

    /// Sees to it that a database is closed at the end of the command, however that ends.
    fn keep(&self, database: &Database) {
        self.opened.borrow_mut().push(database.clone());
    }

    /// Ends the command in order, also after an error.
    pub async fn close(&self) {
        let opened = self.opened.take();
        for database in opened {
            database.close().await;
        }
    }

    /// The configuration, for commands that cannot do without.
    pub fn config(&self) -> Result<Config, CliError> {
        let path = self.installation.config_path();
        vmsgate_config::load(path).map_err(|errors| {
            let found: Vec<&Finding> = errors.errors().collect();
            match found[..] {
                // One hint has a place of its own.
                [finding @ Finding { hint: Some(hint), .. }] => {
                    CliError::user(finding.to_string()).hint(hint)
                }
                _ => {
                    let hint = format!("`vmsgate -c {} check` shows all findings", path.display());
                    CliError::user(errors).hint(hint)
                }
            }
        })
    }

    /// From its file: a service has no terminal to ask on. `missing` says what it is needed for.
    pub fn passphrase(&self, missing: &'static str) -> Result<Passphrase, CliError> {
        let hint = "name the file whose first line is the passphrase: `--passphrase-file FILE`, or VMSGATE_PASSPHRASE_FILE";
        let Some(path) = &self.installation.passphrase_file else {
            return Err(CliError::user(missing).hint(hint));
        };
        Passphrase::from_file(path).map_err(CliError::user).hint(hint)
    }

    /// Who is on record for what the command does.
    pub fn actor(&self) -> Actor {
        Actor::current().on_behalf_of(self.installation.actor.as_deref())
    }

    /// The data directory. A configuration is read only if nothing else names one, and may be missing
    /// unless it was asked for.
    pub fn data_dir(&self) -> Result<DataDir, CliError> {
        let asked = self.installation.config.is_some();
        if self.installation.data.is_some() || !(asked || self.installation.config_path().exists()) {
            return Ok(DataDir::new(self.installation.data_dir(None)));
        }
        Ok(DataDir::new(self.installation.data_dir(Some(&self.config()?.gateway.data))))
    }
}

/// `1 server`, `2 servers`.
fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
