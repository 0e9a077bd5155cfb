//! The first start of a gateway that nobody has set up: in a container, or under a supervisor.
//!
//! With an endpoint it makes what is missing, as `vmsgate-keys init` does; without one it says what to do.

use std::path::Path;

use ipnet::IpNet;
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::{Config, STARTER_NAME, STARTER_TUNNEL, address::Endpoint, write_starter};
use vmsgate_keys::{DataDir, Settings, TunnelRanges};

use super::{Context, run::RunArgs};

/// The configuration, once there is an installation.
pub async fn installed(context: &Context, args: &RunArgs) -> Result<Config, CliError> {
    let path = context.installation.config_path();
    // Read before anything is written: a first start that lacks it leaves nothing behind.
    let passphrase = || context.passphrase("the keystore's passphrase is needed");
    if !path.try_exists().unwrap_or(true) {
        let data = DataDir::new(context.installation.data_dir(None));
        let endpoint = asked(args, || format!("there is no configuration at {}", path.display()))?;
        if data.keystore().exists() {
            let problem = format!(
                "there is no configuration at {}, but an installation in {}",
                path.display(),
                data.path().display()
            );
            return Err(CliError::user(problem)
                .hint("put the configuration back, or name it with `-c FILE` or VMSGATE_CONFIG"));
        }
        passphrase()?.check_strength().map_err(CliError::user).hint(STRENGTH)?;
        starter(path, endpoint, &data)?;
    }
    let config = context.config()?;
    let data = DataDir::new(context.installation.data_dir(Some(&config.gateway.data)));
    let contradiction = args.endpoint.as_ref().filter(|one| config.gateway.endpoints.first() != Some(one));
    // With a database and no keystore something was lost, and that is not for a start to hide.
    if data.keystore().exists() || data.database().exists() {
        if let Some(endpoint) = contradiction {
            tracing::warn!(
                "VMSGATE_ENDPOINT ({endpoint}) is for the first start alone: clients are told `endpoint` of the configuration"
            );
        }
        return Ok(config);
    }
    let none = || format!("there is no installation in {}", data.path().display());
    asked(args, none)?;
    if let Some(endpoint) = contradiction {
        return Err(CliError::user(format!("the endpoint {endpoint} contradicts the configuration"))
            .hint("leave it out, or change `endpoint` in the section `[gateway]`"));
    }
    let passphrase = passphrase()?;
    passphrase.check_strength().map_err(CliError::user).hint(STRENGTH)?;
    let settings = Settings {
        name: config.gateway.name.clone(),
        endpoints: config.gateway.endpoints.clone(),
        tunnel: TunnelRanges::new(config.gateway.tunnel.iter().copied()).map_err(CliError::user)?,
    };
    let made = data.initialise(&passphrase, &settings, &context.actor()).await.map_err(|error| {
        let hint = error.hint();
        CliError::user(error).hint(hint)
    })?;
    made.registry.close().await;
    tracing::info!(
        gateway = settings.name,
        public_key = %made.identity.public_key,
        data = %data.path().display(),
        "first start: an installation was made. Next: list the servers in {}, and add clients with `vmsgate-keys client add`",
        path.display()
    );
    Ok(config)
}

const STRENGTH: &str = "several random words are easy to type and hard to guess";

fn asked(args: &RunArgs, missing: impl FnOnce() -> String) -> Result<&Endpoint, CliError> {
    args.endpoint.as_ref().ok_or_else(|| {
        CliError::user(missing()).hint(
            "set VMSGATE_ENDPOINT (or `run --endpoint`) to where clients reach the gateway, such as \
             vpn.example.org:51820, and this makes one at its first start; or make it with `vmsgate-keys init`; \
             or name the existing one with `-c FILE` and `--data DIR`",
        )
    })
}

fn starter(path: &Path, endpoint: &Endpoint, data: &DataDir) -> Result<(), CliError> {
    let tunnel: Vec<IpNet> = STARTER_TUNNEL.iter().filter_map(|range| range.parse().ok()).collect();
    write_starter(path, STARTER_NAME, &endpoint.to_string(), &tunnel, data.path())
        .or_user(format!("cannot write a first configuration to {}", path.display()))
        .hint("let the gateway's user write to that directory, or put a configuration there")
}
