//! Passphrases from a file or from the terminal.

use std::path::Path;

use crate::{Passphrase, PassphraseError};
use vmsgate_cli::{CliError, OrFail, WithHint};
use zeroize::Zeroizing;

const HOW: &str =
    "name a file with --passphrase-file (or VMSGATE_PASSPHRASE_FILE), or run the command on a terminal";

/// The passphrase of an existing keystore.
pub fn passphrase(file: Option<&Path>) -> Result<Passphrase, CliError> {
    match file {
        Some(file) => from_file(file),
        None => ask("Passphrase of the keystore: "),
    }
}

/// The passphrase of a keystore to be made. A typed one is asked for twice.
pub fn new_passphrase(file: Option<&Path>) -> Result<Passphrase, CliError> {
    let passphrase = match file {
        Some(file) => from_file(file)?,
        None => {
            let first = ask("New passphrase for the keystore: ")?;
            check(&first)?;
            let second = ask("The same again: ")?;
            if !first.is_same(&second) {
                return Err(
                    CliError::user("the two passphrases differ").hint("nothing was changed; try again")
                );
            }
            first
        }
    };
    check(&passphrase)?;
    Ok(passphrase)
}

fn from_file(file: &Path) -> Result<Passphrase, CliError> {
    Passphrase::from_file(file).map_err(CliError::user).hint("its first line is the passphrase")
}

fn ask(question: &str) -> Result<Passphrase, CliError> {
    let answer = rpassword::prompt_password(question).map(Zeroizing::new);
    let answer = answer.or_user("there is no terminal to ask for the passphrase on").hint(HOW)?;
    Passphrase::new(answer.as_bytes()).map_err(CliError::user).hint("type it, then press Enter")
}

fn check(passphrase: &Passphrase) -> Result<(), CliError> {
    passphrase.check_strength().map_err(|error: PassphraseError| {
        CliError::user(error).hint("several random words are easy to type and hard to guess")
    })
}
