//! `vmsgate-keys`: makes an installation and says who may connect.
//!
//! In the library, so that `vmsgate` can be it too.

use std::process::ExitCode;

use clap::Parser;
use vmsgate_cli::{
    CliError, Exit, OrFail, Printer,
    logging::{self, Verbosity},
    run_main,
};

mod cli;
mod commands;
mod context;
mod secrets;
mod site;

use cli::{Cli, ClientCommand, Command, GatewayCommand};
use context::Context;

/// The program `vmsgate-keys`, from its arguments to its exit status.
#[must_use]
pub fn command_line() -> ExitCode {
    run_main(|| {
        vmsgate_nss::use_linked_services().or_unexpected("cannot set up name resolution")?;
        let cli = Cli::parse();
        logging::init(&cli.output, Verbosity::Warnings);
        let context = Context::new(Printer::new(&cli.output), cli.installation);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.or_unexpected("cannot start the runtime")?.block_on(async {
            let result = execute(&context, cli.command).await;
            context.close().await;
            result
        })
    })
}

async fn execute(context: &Context, command: Command) -> Result<Exit, CliError> {
    use commands::{
        backup, client_add, client_change, client_invite, client_report, client_revoke, client_rotate,
        gateway_rotation, gateway_show, init, passwd, raw_keys, restore,
    };
    match command {
        Command::Init(args) => init::run(context, &args).await?,
        Command::Client(ClientCommand::Add(args)) => client_add::run(context, args).await?,
        Command::Client(ClientCommand::List) => client_report::list(context).await?,
        Command::Client(ClientCommand::Show { name }) => client_report::show(context, &name).await?,
        Command::Client(ClientCommand::Suspend(args)) => client_change::suspend(context, args).await?,
        Command::Client(ClientCommand::Resume { name }) => client_change::resume(context, &name).await?,
        Command::Client(ClientCommand::Revoke(args)) => return client_revoke::run(context, args).await,
        Command::Client(ClientCommand::Invite(args)) => client_invite::run(context, args).await?,
        Command::Client(ClientCommand::Rotate(args)) => client_rotate::run(context, args).await?,
        Command::Client(ClientCommand::Expire { name, when }) => {
            client_change::expire(context, &name, when).await?;
        }
        Command::Gateway(GatewayCommand::Show) => gateway_show::run(context).await?,
        Command::Gateway(GatewayCommand::Rotate { overlap }) => {
            gateway_rotation::rotate(context, overlap).await?
        }
        Command::Gateway(GatewayCommand::Status) => return gateway_rotation::status(context).await,
        Command::Gateway(GatewayCommand::Retire { seen_within, force }) => {
            gateway_rotation::retire(context, seen_within, force).await?;
        }
        Command::Genkey => raw_keys::genkey(context)?,
        Command::Pubkey => raw_keys::pubkey(context)?,
        Command::Genpsk => raw_keys::genpsk(context)?,
        Command::Passwd(args) => passwd::run(context, &args).await?,
        Command::Backup { file } => backup::run(context, &file).await?,
        Command::Restore(args) => restore::run(context, &args).await?,
        Command::Document(document) => return document.execute::<Cli>(&context.printer),
    }
    Ok(Exit::Done)
}
