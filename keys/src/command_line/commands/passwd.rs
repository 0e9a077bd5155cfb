//! `passwd`: the same master key under another passphrase.

use crate::{Existing, Keystore};
use vmsgate_cli::CliError;

use crate::command_line::{
    cli::PasswdArgs,
    context::{Context, SCHEMA_VERSION, keystore_error, registry_error},
    secrets,
};

pub async fn run(context: &Context, args: &PasswdArgs) -> Result<(), CliError> {
    let path = context.data_dir()?.keystore();
    let registry = context.registry().await?;
    let master = context.master_key()?;
    let passphrase = secrets::new_passphrase(args.new_passphrase_file.as_deref())?;
    let keystore = Keystore::seal(&master, &passphrase).map_err(keystore_error)?;

    // The write lock of the registry also makes two such commands take turns.
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    change.passphrase_changed().map_err(registry_error)?;
    keystore.write(&path, Existing::Replace).map_err(keystore_error)?;
    change.commit().await.map_err(|error| {
        registry_error(error).context("the passphrase was changed, but its record was not written")
    })?;

    if context.printer.is_json() {
        context.printer.json(SCHEMA_VERSION, &serde_json::json!({ "keystore": path }))?;
    }
    context.printer.note("the keystore has a new passphrase")?;
    context.printer.hint("put it into the passphrase file of the gateway before the gateway starts again")?;
    Ok(())
}
