//! Ways in: a file with the process's environment, or a text with whatever environment the caller gives.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::file::diagnostics::{Diagnostics, Place};
use crate::file::document::Document;
use crate::file::environment::Environment;
use crate::finding::ConfigErrors;
use crate::resolve::resolve;
use crate::resolved::Config;
use crate::version;

/// Larger files are something else: a thousand servers take a tenth of this.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads and checks the file at `path`; values of the process's environment (`VMSGATE_…`) take the place of
/// the file's.
///
/// # Errors
/// Every problem that could be found at once, each with its place and a hint.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let text = read(path, &name)?;
    Config::from_str_with(&text, &name, &Environment::of_process())
}

impl Config {
    /// Checks `text` as [`load`] does, without looking at the environment; `name` stands for the file.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_str(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        Self::from_str_with(text, name, &Environment::default())
    }

    /// Checks `text` with values of `environment` in place of its own.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_str_with(text: &str, name: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut diagnostics = Diagnostics::new(name, text);
        environment.warn_of_misspellings(&mut diagnostics);
        let hash = version::of_text(text, environment);
        let resolved = match Document::parse(text, environment, &mut diagnostics) {
            Some(document) => resolve(document, diagnostics),
            None => Err(diagnostics.into_errors()),
        };
        match resolved {
            Ok(config) => Ok(Config { hash, ..config }),
            Err(errors) => Err(ConfigErrors { hash: Some(hash), ..errors }),
        }
    }
}

fn read(path: &Path, name: &str) -> Result<String, ConfigErrors> {
    let refuse = |text: &str, offset: Option<usize>, message: String, hint: &str| {
        let mut diagnostics = Diagnostics::new(name, text);
        let place = offset.map_or(Place::File, |offset| diagnostics.line(&(offset..offset)));
        diagnostics.error(&place, message, hint);
        diagnostics.into_errors()
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let hint = match error.kind() {
            ErrorKind::NotFound => {
                "name the file with `-c FILE`, or write a first one with `vmsgate-keys init -c FILE`"
            }
            ErrorKind::PermissionDenied => "let the user that runs this program read the file",
            _ => "",
        };
        return Err(refuse("", None, format!("the configuration cannot be read: {error}"), hint));
    }
    if bytes.len() as u64 > LARGEST_FILE {
        let message = "the file is larger than 1 MiB".to_owned();
        return Err(refuse("", None, message, "name the configuration file with `-c FILE`"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        refuse(&text, Some(offset), "the file is not UTF-8 text".to_owned(), "save it as UTF-8")
    })
}
