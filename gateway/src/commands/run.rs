//! `vmsgate run`: the gateway in the foreground, until SIGTERM or SIGINT.

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use vmsgate_cli::{CliError, Exit, OrFail};
use vmsgate_config::address::Endpoint;
use vmsgate_keys::DataDir;

use super::{Context, first_start};
use crate::run::{Gateway, Start, manager};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// If there is no installation yet, make it: where clients reach the gateway from the internet
    #[arg(long, env = "VMSGATE_ENDPOINT", value_name = "HOST:PORT")]
    pub endpoint: Option<Endpoint>,
}

pub async fn execute(context: &Context, args: &RunArgs) -> Result<Exit, CliError> {
    let config = first_start::installed(context, args).await?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let data = DataDir::new(context.installation.data_dir(Some(&config.gateway.data)));
    let passphrase = context.passphrase("the keystore's passphrase is needed")?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut hangup = on(SignalKind::hangup())?;
    let config_path = Some(context.installation.config_path().to_owned());
    let gateway =
        Gateway::start(Start { config, config_path, data, passphrase, actor: context.actor() }).await?;
    manager::ready();
    let stop = async {
        let reason = tokio::select! {
            _ = terminate.recv() => "sigterm",
            _ = interrupt.recv() => "sigint",
        };
        manager::stopping();
        reason
    };
    let reload = async || {
        hangup.recv().await;
    };
    gateway.serve(stop, reload).await?;
    Ok(Exit::Done)
}

fn on(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).or_unexpected("cannot listen for signals")
}
