//! `genkey`, `pubkey`, `genpsk`: what `wg` does, where it is not installed.

use std::io::{self, Read};

use crate::{PresharedKey, PrivateKey};
use vmsgate_cli::{CliError, OrFail, WithHint};
use zeroize::Zeroizing;

use crate::command_line::context::Context;

/// A key has 44 characters; whoever sends more does not send a key.
const MAX_INPUT: u64 = 256;

pub fn genkey(context: &Context) -> Result<(), CliError> {
    Ok(context.printer.line(PrivateKey::generate().to_base64().as_str())?)
}

pub fn genpsk(context: &Context) -> Result<(), CliError> {
    Ok(context.printer.line(PresharedKey::generate().to_base64().as_str())?)
}

pub fn pubkey(context: &Context) -> Result<(), CliError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT as usize));
    io::stdin().take(MAX_INPUT).read_to_string(&mut text).or_user("cannot read a private key from stdin")?;
    let private: PrivateKey = text
        .trim_end()
        .parse()
        .or_user("stdin does not hold a private key")
        .hint("make one with `vmsgate-keys genkey`")?;
    Ok(context.printer.line(private.public_key())?)
}
