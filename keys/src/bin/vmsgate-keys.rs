//! `vmsgate-keys`: makes an installation and says who may connect.

use std::process::ExitCode;

fn main() -> ExitCode {
    vmsgate_keys::command_line()
}
