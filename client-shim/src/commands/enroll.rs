//! `vmsgate-shim enroll`

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget};
use vmsgate_cli::{CliError, Exit, OrFail, Printer, WithHint, human};
use vmsgate_exchange::{Token, TokenError};
use vmsgate_shim::keys::{Enrolment, Progress, enroll};
use vmsgate_shim::report::SCHEMA_VERSION;
use zeroize::Zeroizing;

use crate::cli::EnrollArgs;

/// Far longer than an invitation.
const MAX_INPUT: u64 = 8 * 1024;

pub fn execute(args: &EnrollArgs, printer: &Printer) -> Result<Exit, CliError> {
    let token = read_token(args, printer)?;
    let file = match &args.out {
        Some(file) => file.clone(),
        None => default_file(&token)?,
    };
    let line = ProgressBar::with_draw_target(
        None,
        if printer.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
    );
    let progress = |progress| {
        let text = match progress {
            Progress::Connecting => format!("connecting to {}", token.endpoint),
            Progress::Asking => "asking for the profile".to_owned(),
            Progress::Waiting => "the gateway is busy, asking again".to_owned(),
            Progress::Storing => "storing the profile".to_owned(),
        };
        line.set_message(human::printable(&text));
        line.tick();
    };
    let outcome = super::on_this_thread(enroll(&token, &file, progress))?;
    line.finish_and_clear();
    let enrolment = outcome.map_err(|error| {
        let hint = error.hint();
        CliError::user(human::printable(&error.to_string())).hint(hint)
    })?;
    report(&enrolment, printer)?;
    Ok(Exit::Done)
}

fn report(enrolment: &Enrolment, printer: &Printer) -> io::Result<()> {
    if printer.is_json() {
        return printer.json(SCHEMA_VERSION, enrolment);
    }
    let Enrolment { client, operator, role, gateway, file, fingerprint, .. } = enrolment;
    let file = file.display();
    printer.line(human::printable(&format!(
        "{client} of {operator} may use {gateway} as {role}, with the key {fingerprint}: {file}"
    )))?;
    printer.hint(human::printable(&format!("connect: vmsgate-shim up {file}")))
}

/// From the argument, from standard input with `-`, or asked for.
fn read_token(args: &EnrollArgs, printer: &Printer) -> Result<Token, CliError> {
    let text = match args.token.as_deref() {
        Some("-") => from_stdin()?,
        Some(token) => {
            printer.hint(
                "others on this machine may have seen the invitation among the arguments; it is of no more use to them \
                 once this has worked. Without TOKEN it is asked for",
            )?;
            Zeroizing::new(token.to_owned())
        }
        None if io::stdin().is_terminal() => {
            let answer = rpassword::prompt_password("Invitation: ").map(Zeroizing::new);
            answer.or_user("there is no terminal to ask for the invitation on")?
        }
        None => from_stdin()?,
    };
    text.parse().map_err(|error: TokenError| CliError::user(error).hint(error.hint()))
}

fn from_stdin() -> Result<Zeroizing<String>, CliError> {
    // Room beforehand: a text that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT as usize));
    io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text).or_user("cannot read the invitation")?;
    Ok(text)
}

/// `CLIENT.conf` in the present folder, for a name that says no other.
fn default_file(token: &Token) -> Result<PathBuf, CliError> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = &token.client;
    if name.starts_with('.') || !name.chars().all(safe) {
        return Err(CliError::user("the client's name makes no file name")).hint("name the file with --out");
    }
    Ok(PathBuf::from(format!("{name}.conf")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(client: &str) -> Token {
        let endpoint = "127.0.0.1:1".parse().unwrap();
        Token::new([1; 32].into(), endpoint, client.to_owned(), 1, Zeroizing::new([2; 32])).unwrap()
    }

    #[test]
    fn no_invitation_chooses_a_folder() {
        assert_eq!(default_file(&named("anna-laptop")).unwrap(), PathBuf::from("anna-laptop.conf"));
        for name in ["../.ssh/x", "/etc/x", ".profile", "a b", "\u{e9}"] {
            default_file(&named(name)).unwrap_err();
        }
    }
}
