//! The client that `explain --client` names, as the registry knows it.

use jiff::Timestamp;
use vmsgate_cli::CliError;
use vmsgate_keys::{Client, Registry, Standing};

use crate::{commands::Context, hinted::registry_error};

pub(super) struct Caller {
    pub(super) role: String,
    /// Why the client can open no tunnel, if it cannot.
    pub(super) refused: Option<String>,
}

pub(super) async fn look_up(context: &Context, name: &str) -> Result<Caller, CliError> {
    let client = find(context, name).await?;
    let refused = match client.standing(Timestamp::now()) {
        Standing::Active => None,
        standing @ (Standing::Suspended | Standing::Revoked | Standing::Expired) => {
            Some(format!("is {}", standing.as_str()))
        }
    };
    Ok(Caller { role: client.role, refused })
}

async fn find(context: &Context, name: &str) -> Result<Client, CliError> {
    let registry = Registry::open(&context.data_dir()?.database()).await.map_err(registry_error)?;
    context.keep(registry.database());
    registry.client(name).await.map_err(registry_error)
}
