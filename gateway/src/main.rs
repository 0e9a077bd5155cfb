//! The gateway: its command line, and the program behind `vmsgate run`.

#![allow(unreachable_pub, reason = "a binary has no outside: `pub` means for the other modules")]

mod admin;
mod cli;
mod commands;
mod control;
mod demo;
mod forward;
mod health;
mod hinted;
mod http;
mod policy_build;
mod run;
mod ship;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use vmsgate_cli::{
    CliError, Exit, OrFail, Printer,
    logging::{self, Verbosity},
    run_main,
};

use crate::{
    cli::{Cli, Command},
    commands::Context,
};

fn main() -> ExitCode {
    run_main(|| {
        let Cli { output, installation, command } = Cli::parse();
        let default = match command {
            Command::Run => Verbosity::Milestones,
            _ => Verbosity::Warnings,
        };
        logging::init(&output, default);
        let printer = Printer::new(&output);
        execute(Context { installation, printer }, &command)
    })
}

fn execute(context: Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Run => block_on(commands::run::execute(&context)),
        Command::Demo => block_on(commands::demo::execute(context)),
        Command::Check(args) => block_on(commands::check::execute(&context, args)),
        Command::Explain(args) => block_on(commands::explain::execute(&context, args)),
        Command::Status => block_on(commands::status::execute(&context)),
        Command::Sessions(args) => block_on(commands::sessions::execute(&context, args)),
        Command::Flows(args) => block_on(commands::flows::execute(&context, args)),
        Command::Denials(args) => block_on(commands::denials::execute(&context, args)),
        Command::Audit(command) => block_on(commands::audit::execute(&context, command)),
        Command::Who(args) => block_on(commands::who::execute(&context, args)),
    }
}

/// Runs a short command. The gateway itself makes its own runtime.
fn block_on(command: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.or_unexpected("cannot start the runtime")?.block_on(command)
}
