//! A secret that is shown once: to a file, as a QR code, or as text.

use std::{fs, io, path::Path};

use crate::{Change, Existing, write_private};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use vmsgate_cli::{CliError, OrFail, Printer, WithHint};
use zeroize::Zeroizing;

use crate::command_line::context::registry_error;

/// Refused before anything is asked or changed.
pub fn check_free(out: Option<&Path>) -> Result<(), CliError> {
    match out.filter(|out| out.exists()) {
        Some(out) => Err(file_exists(out)),
        None => Ok(()),
    }
}

/// Commits a change after its secret was written to `out`, if to a file at all: a secret without the change behind it
/// is harmless, a change whose secret nobody has is useless.
pub async fn commit_with(
    change: Change,
    what: &str,
    out: Option<&Path>,
    secret: &str,
) -> Result<(), CliError> {
    if let Some(out) = out {
        write(what, out, secret)?;
    }
    change.commit().await.map_err(|error| {
        out.iter().for_each(|out| drop(fs::remove_file(out)));
        registry_error(error)
    })
}

fn write(what: &str, out: &Path, secret: &str) -> Result<(), CliError> {
    match write_private(out, secret.as_bytes(), Existing::Keep) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(file_exists(out)),
        written => written
            .or_user(format!("cannot write the {what} to {}", out.display()))
            .hint("nothing was changed; name a file in a directory that you may write to"),
    }
}

fn file_exists(out: &Path) -> CliError {
    CliError::user(format!("{} exists already", out.display()))
        .hint("nothing was changed; name a new file with --out")
}

/// Dark on light even where the terminal is light on dark: most phones do not read the inverse.
pub fn qr_code(printer: &Printer, text: &str) -> io::Result<()> {
    const BLACK_ON_WHITE: &str = "\u{1b}[30;107m";
    const DEFAULT: &str = "\u{1b}[0m";
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(io::Error::other)?;
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build();
    let picture = Zeroizing::new(picture);
    let (before, after) = if printer.is_terminal() { (BLACK_ON_WHITE, DEFAULT) } else { ("", "") };
    let lines: Zeroizing<String> =
        Zeroizing::new(picture.lines().map(|line| format!("{before}{line}{after}\n")).collect());
    printer.raw(lines.as_bytes())
}
