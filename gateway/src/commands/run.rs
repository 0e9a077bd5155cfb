//! `vmsgate run`: the gateway in the foreground, until SIGTERM or SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};
use vmsgate_cli::{CliError, Exit, OrFail};
use vmsgate_keys::DataDir;

use super::Context;
use crate::run::{Gateway, Start};

pub async fn execute(context: &Context) -> Result<Exit, CliError> {
    let config = context.config()?;
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
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => "sigterm",
            _ = interrupt.recv() => "sigint",
        }
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
