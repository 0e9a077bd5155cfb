//! Errors of the parts that this program is made of, each with what to do about it, as a command reports them.

use vmsgate_audit::DbError;
use vmsgate_cli::CliError;
use vmsgate_keys::{KeystoreError, RegistryError};

pub fn hinted<E: std::error::Error + Send + Sync + 'static>(
    error: E,
    hint: impl Fn(&E) -> String,
) -> CliError {
    let hint = hint(&error);
    CliError::user(error).hint(hint)
}

pub fn database_error(error: DbError) -> CliError {
    hinted(error, |error| error.hint().to_owned())
}

pub fn keystore_error(error: KeystoreError) -> CliError {
    hinted(error, |error| error.hint().to_owned())
}

pub fn registry_error(error: RegistryError) -> CliError {
    hinted(error, RegistryError::hint)
}
