//! `vmsgate-shim`: parse, run a command, exit.

#![allow(unreachable_pub, reason = "a binary has no outside: `pub` means for the other modules")]

mod cli;
mod commands;
mod instance;
#[cfg(any(target_os = "linux", windows))]
mod setup;
#[cfg(windows)]
mod window;

use std::process::ExitCode;

use clap::Parser;
use vmsgate_cli::logging::{self, Verbosity};
use vmsgate_cli::{CliError, Exit, OrFail, Printer, run_main};

use cli::{Cli, Command};

fn main() -> ExitCode {
    let code = match Cli::try_parse() {
        Ok(cli) => run_main(|| run(cli)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    };
    #[cfg(windows)]
    let code = window::keep_open(code);
    code
}

fn run(cli: Cli) -> Result<Exit, CliError> {
    vmsgate_nss::use_linked_services().or_unexpected("cannot set up name resolution")?;
    let printer = Printer::new(&cli.output);
    match cli.command {
        Command::Up(args) => commands::up::execute(&args, &cli.output, &printer),
        Command::Enroll(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::enroll::execute(&args, &printer)
        }
        Command::Rotate(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::rotate::execute(&args, &printer)
        }
        Command::Status(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::status::execute(&args, &printer)
        }
        Command::Doctor(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::doctor::execute(&args, &cli.output, &printer)
        }
        #[cfg(target_os = "linux")]
        Command::KeepRoutes { interface } => commands::keep_routes::execute(&interface),
        Command::Hosts(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::hosts::execute(&args, &printer)
        }
        Command::Document(document) => document.execute::<Cli>(&printer),
        #[cfg(any(target_os = "linux", windows))]
        Command::Install(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::install::install(&args, &printer)
        }
        #[cfg(any(target_os = "linux", windows))]
        Command::Uninstall(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::install::uninstall(&args, &printer)
        }
        #[cfg(windows)]
        Command::Export(args) => {
            logging::init(&cli.output, Verbosity::Warnings);
            commands::export::execute(&args, &printer)
        }
    }
}
