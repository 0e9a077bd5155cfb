//! What every command starts from: the printer, and the installation that it works on.

use crate::{
    Actor, Applied, Change, Client, DataDir, Keystore, KeystoreError, MasterKey, Registry, RegistryError,
};
use tokio::sync::OnceCell;
use vmsgate_cli::{CliError, Printer, args::InstallationArgs};
use vmsgate_config::Config;

use crate::command_line::{secrets, site::Site};

/// The version of every JSON document of this program.
pub const SCHEMA_VERSION: u32 = 1;

pub struct Context {
    pub printer: Printer,
    pub installation: InstallationArgs,
    registry: OnceCell<Registry>,
}

impl Context {
    pub fn new(printer: Printer, installation: InstallationArgs) -> Self {
        Self { printer, installation, registry: OnceCell::new() }
    }

    /// The configuration. Only a file that was named (by flag or environment) has to exist.
    pub fn config(&self) -> Result<Option<Config>, CliError> {
        let path = self.installation.config_path();
        if self.installation.config.is_none() && !path.exists() {
            return Ok(None);
        }
        vmsgate_config::load(path).map(Some).map_err(|errors| {
            let command = format!("`vmsgate -c {} check` shows all findings", path.display());
            let context = format!("the configuration {} cannot be used", path.display());
            CliError::user(errors).context(context).hint(command)
        })
    }

    /// The data directory: flag, then environment, then configuration, then default.
    pub fn data_dir(&self) -> Result<DataDir, CliError> {
        // An explicit directory must work even while the configuration is broken: revoking cannot wait.
        let configured = match &self.installation.data {
            Some(_) => None,
            None => self.config()?.map(|config| config.gateway.data),
        };
        Ok(DataDir::new(self.installation.data_dir(configured.as_deref())))
    }

    pub async fn registry(&self) -> Result<&Registry, CliError> {
        let path = self.data_dir()?.database();
        self.registry.get_or_try_init(|| Registry::open(&path)).await.map_err(registry_error)
    }

    /// Who is on record for what the command changes.
    pub fn actor(&self) -> Actor {
        Actor::current().on_behalf_of(self.installation.actor.as_deref())
    }

    /// Ends the command in order, also after an error.
    pub async fn close(self) {
        if let Some(registry) = self.registry.into_inner() {
            registry.close().await;
        }
    }

    /// The registry together with what the configuration, or else `init`, says about the gateway.
    pub async fn site(&self) -> Result<(&Registry, Site), CliError> {
        let registry = self.registry().await?;
        let settings = registry.settings().await.map_err(registry_error)?;
        Ok((registry, Site::new(settings, self.config()?)?))
    }

    /// Opens the keystore, asking for its passphrase if need be.
    pub fn master_key(&self) -> Result<MasterKey, CliError> {
        let keystore = Keystore::read(&self.data_dir()?.keystore()).map_err(keystore_error)?;
        let passphrase = secrets::passphrase(self.installation.passphrase_file.as_deref())?;
        keystore.open(&passphrase).map_err(keystore_error)
    }
}

/// One change of one client, committed.
pub async fn change_client(
    context: &Context,
    edit: impl AsyncFnOnce(&mut Change) -> Result<Applied, RegistryError>,
) -> Result<Applied, CliError> {
    let registry = context.registry().await?;
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let applied = edit(&mut change).await.map_err(registry_error)?;
    change.commit().await.map_err(registry_error)?;
    Ok(applied)
}

pub fn registry_error(error: RegistryError) -> CliError {
    let hint = error.hint();
    if error.is_users_turn() { CliError::user(error) } else { CliError::unexpected(error) }.hint(hint)
}

pub fn keystore_error(error: KeystoreError) -> CliError {
    let hint = error.hint();
    CliError::user(error).hint(hint)
}

/// The addresses of a client in one cell.
pub fn addresses(client: &Client) -> String {
    client.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
