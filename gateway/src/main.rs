//! The gateway: its command line, and the program behind `vmsgate run`.

#![allow(unreachable_pub, reason = "a binary has no outside: `pub` means for the other modules")]

mod admin;
mod cli;
mod commands;
mod control;
mod demo;
mod difference;
mod forward;
mod health;
mod hinted;
mod http;
mod policy_build;
mod run;
mod ship;
mod stack;
mod worker;

use std::{env, path::Path, process::ExitCode};

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

/// The program that this one is too, when it is called so.
const KEYS: &str = "vmsgate-keys";

fn main() -> ExitCode {
    // In the image both names lead here: what the two programs have in common is in it once.
    if env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some(KEYS.as_ref())) {
        return vmsgate_keys::command_line();
    }
    run_main(|| {
        vmsgate_nss::use_linked_services().or_unexpected("cannot set up name resolution")?;
        let Cli { output, installation, command } = Cli::parse();
        let default = match command {
            Command::Run(_) => Verbosity::Milestones,
            _ => Verbosity::Warnings,
        };
        logging::init(&output, default);
        let printer = Printer::new(&output);
        let mut context = Context::new(installation, printer);
        // For a short command. The workers of a gateway make runtimes of their own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.or_unexpected("cannot start the runtime")?.block_on(async {
            let result = execute(&mut context, &command).await;
            context.close().await;
            result
        })
    })
}

async fn execute(context: &mut Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Run(args) => commands::run::execute(context, args).await,
        Command::Demo => commands::demo::execute(context).await,
        Command::Check(args) => commands::check::execute(context, args).await,
        Command::Reload => commands::reload::execute(context).await,
        Command::Explain(args) => commands::explain::execute(context, args).await,
        Command::Status => commands::status::execute(context).await,
        Command::Top(args) => commands::top::execute(context, args).await,
        Command::Health(args) => commands::health::execute(context, args).await,
        Command::Sessions(args) => commands::sessions::execute(context, args).await,
        Command::Flows(args) => commands::flows::execute(context, args).await,
        Command::Denials(args) => commands::denials::execute(context, args).await,
        Command::Audit(command) => commands::audit::execute(context, command).await,
        Command::Policy(command) => commands::policy::execute(context, command).await,
        Command::Who(args) => commands::who::execute(context, args).await,
        Command::Document(document) => document.execute::<Cli>(&context.printer),
    }
}
