//! `init`: a new installation.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{DataDir, Fingerprint, PublicKey, Settings, TunnelRanges};
use ipnet::IpNet;
use serde::Serialize;
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::{Config, STARTER_NAME, STARTER_TUNNEL};

use crate::command_line::{
    cli::InitArgs,
    context::{Context, SCHEMA_VERSION, keystore_error},
    secrets,
};

pub async fn run(context: &Context, args: &InitArgs) -> Result<(), CliError> {
    let starter = missing_config(context);
    let config = if starter.is_some() { None } else { context.config()? };
    let settings = settings(args, config.as_ref())?;
    let data = DataDir::new(context.installation.data_dir(config.as_ref().map(|c| c.gateway.data.as_path())));
    if data.keystore().exists() {
        return Err(keystore_error(crate::KeystoreError::Exists { path: data.keystore() }));
    }
    let passphrase = secrets::new_passphrase(context.installation.passphrase_file.as_deref())?;

    if let Some(path) = &starter {
        write_starter(path, &settings, &data)?;
    }
    let made = data.initialise(&passphrase, &settings, &context.actor()).await;
    let made = made.map_err(|error| {
        // What this attempt wrote must not stand in the way of the next one.
        starter.iter().for_each(|path| drop(fs::remove_file(path)));
        let hint = error.hint();
        CliError::user(error).hint(hint)
    })?;
    made.registry.close().await;
    report(context, &data, starter.as_deref(), &settings, made.identity.public_key)
}

/// The configuration file that was named and is to be written, if it does not exist.
fn missing_config(context: &Context) -> Option<PathBuf> {
    context.installation.config.clone().filter(|path| !path.exists())
}

/// Flags, or what the configuration says; a flag that says something else would make two truths.
fn settings(args: &InitArgs, config: Option<&Config>) -> Result<Settings, CliError> {
    let ranges = |ranges: &[IpNet]| {
        let problem = "give one IPv4 and one IPv6 range at most, such as --tunnel 10.99.0.0/16";
        TunnelRanges::new(ranges.iter().copied()).map_err(CliError::user).hint(problem)
    };
    let Some(config) = config else {
        let missing = "the endpoint is missing: where clients reach the gateway from the internet";
        if args.endpoint.is_empty() {
            return Err(
                CliError::user(missing).hint("add --endpoint HOST:PORT, such as vpn.example.org:51820")
            );
        }
        let default: Vec<IpNet> = STARTER_TUNNEL.iter().filter_map(|range| range.parse().ok()).collect();
        let name = args.name.as_deref().unwrap_or(STARTER_NAME);
        return Ok(Settings {
            name: check_name(name)?.to_owned(),
            endpoints: args.endpoint.clone(),
            tunnel: ranges(if args.tunnel.is_empty() { &default } else { &args.tunnel })?,
        });
    };
    let gateway = &config.gateway;
    let contradiction = if !args.endpoint.is_empty() && args.endpoint != gateway.endpoints {
        Some("--endpoint")
    } else if !args.tunnel.is_empty() && ranges(&args.tunnel)? != ranges(&gateway.tunnel)? {
        Some("--tunnel")
    } else if args.name.as_ref().is_some_and(|name| *name != gateway.name) {
        Some("--name")
    } else {
        None
    };
    match contradiction {
        Some(flag) => Err(CliError::user(format!("{flag} contradicts the configuration"))
            .hint("leave the flag out, or change the configuration")),
        None => Ok(Settings {
            name: gateway.name.clone(),
            endpoints: gateway.endpoints.clone(),
            tunnel: ranges(&gateway.tunnel)?,
        }),
    }
}

/// The rules of the configuration for `[gateway] name`, which will hold it.
fn check_name(name: &str) -> Result<&str, CliError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins_well && name.len() <= 63 && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(CliError::user(format!("`{}` cannot name a gateway", name.escape_debug()))
        .hint("use 1 to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit"))
}

fn write_starter(path: &Path, settings: &Settings, data: &DataDir) -> Result<(), CliError> {
    let tunnel: Vec<IpNet> = settings.tunnel.iter().copied().collect();
    let endpoint = settings.endpoints.first().map(ToString::to_string).unwrap_or_default();
    vmsgate_config::write_starter(path, &settings.name, &endpoint, &tunnel, data.path())
        .or_user(format!("cannot write the configuration {}", path.display()))
        .hint("name a file in a directory that exists and that you may write to")
}

#[derive(Serialize)]
struct Report<'a> {
    data: &'a Path,
    config: Option<&'a Path>,
    name: &'a str,
    public_key: PublicKey,
    fingerprint: Fingerprint,
}

fn report(
    context: &Context,
    data: &DataDir,
    starter: Option<&Path>,
    settings: &Settings,
    public_key: PublicKey,
) -> Result<(), CliError> {
    let printer = &context.printer;
    if printer.is_json() {
        let fingerprint = public_key.fingerprint();
        let report =
            Report { data: data.path(), config: starter, name: &settings.name, public_key, fingerprint };
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    printer.note(format_args!("installation made in {}", data.path().display()))?;
    printer.note(format_args!("gateway `{}` has the public key {public_key}", settings.name))?;
    let (config, unlock) = next_flags(context, starter.is_some());
    let path = context.installation.config_path().display();
    let just_written = if starter.is_some() { " (just written)" } else { "" };
    printer.note(format_args!("\nnext:\n  1. list your servers in {path}{just_written}, then check it:"))?;
    printer.note(format_args!("       vmsgate{config} check"))?;
    printer.note("  2. add a client:")?;
    let add = "client add NAME --role smart-client --operator PERSON --out NAME.conf";
    printer.note(format_args!("       vmsgate-keys{config}{unlock} {add}"))?;
    printer.note("  3. start the gateway:")?;
    // The gateway has no terminal to ask on.
    let unlock = if unlock.is_empty() { " --passphrase-file FILE" } else { &unlock };
    Ok(printer.note(format_args!("       vmsgate{config}{unlock} run"))?)
}

/// The flags that the next commands need too: where the installation is, and what opens it. A configuration that was
/// just written names the data directory.
fn next_flags(context: &Context, written: bool) -> (String, String) {
    let given = &context.installation;
    let flag = |flag: &str, path: &Option<PathBuf>| {
        path.as_ref().map(|path| format!(" {flag} {}", path.display())).unwrap_or_default()
    };
    let data = if written { String::new() } else { flag("--data", &given.data) };
    (flag("-c", &given.config) + &data, flag("--passphrase-file", &given.passphrase_file))
}
