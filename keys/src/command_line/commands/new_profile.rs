//! Making and showing a profile, which exists only once: for `client add` and `client rotate`.

use std::{io, net::IpAddr, path::Path};

use crate::{Change, Client, PresharedKey, PrivateKey, Profile, PublicKey, Registry};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_cli::{CliError, WithHint};
use vmsgate_config::address::Endpoint;

use crate::command_line::{
    commands::{
        client_report::ClientReport,
        secret_output::{commit_with, qr_code},
    },
    context::{Context, SCHEMA_VERSION, registry_error},
    site::Site,
};

/// How the profile is handed out.
pub struct Output<'a> {
    pub out: Option<&'a Path>,
    pub qr: bool,
    /// What became of the client.
    pub done: String,
    /// What helps when the profile is lost.
    pub if_lost: String,
}

/// The keys of a device: a pair that it made itself, or a new one.
pub struct DeviceKeys {
    private: Option<PrivateKey>,
    pub public: PublicKey,
    pub preshared: PresharedKey,
}

impl DeviceKeys {
    pub fn new(own: Option<PublicKey>) -> Self {
        let made = PrivateKey::generate();
        let public = own.unwrap_or_else(|| made.public_key());
        Self { private: own.is_none().then_some(made), public, preshared: PresharedKey::generate() }
    }
}

pub struct GatewayFacts {
    pub key: PublicKey,
    pub endpoint: Endpoint,
    addresses: Vec<IpAddr>,
}

impl GatewayFacts {
    pub async fn of(registry: &Registry, site: &Site) -> Result<Self, CliError> {
        let identities = registry.identities().await.map_err(registry_error)?;
        let newest =
            identities.last().ok_or_else(|| CliError::user("the registry has no gateway identity"))?;
        let endpoint = site.endpoints.first().ok_or_else(|| CliError::user("the gateway has no endpoint"))?;
        Ok(Self {
            key: newest.public_key,
            endpoint: endpoint.clone(),
            addresses: site.ranges.gateway_addresses(),
        })
    }
}

#[derive(Serialize)]
struct Report<'a> {
    client: ClientReport<'a>,
    /// Where the profile was written, or else its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
}

/// Commits the change that `client` comes from, and hands out its profile.
pub async fn commit_and_show(
    context: &Context,
    change: Change,
    client: &Client,
    keys: &DeviceKeys,
    (site, gateway): (&Site, &GatewayFacts),
    output: Output<'_>,
) -> Result<(), CliError> {
    let (reachable, warning): (Vec<IpNet>, _) = site.reachable(&client.role);
    let profile = Profile {
        client,
        private_key: keys.private.as_ref(),
        preshared_key: &keys.preshared,
        gateway_name: &site.gateway_name,
        gateway_key: gateway.key,
        endpoint: &gateway.endpoint,
        gateway_addresses: &gateway.addresses,
        dns_suffix: site.dns_suffix.as_deref(),
        reachable: &reachable,
        mtu: site.mtu,
        made: Timestamp::now(),
    };
    let conf = profile.to_conf();
    commit_with(change, "profile", output.out, &conf).await?;
    show(context, client, &conf, &profile, &output)
        .map_err(|error| CliError::unexpected(format!("the profile could not be shown: {error}")))
        .hint(output.if_lost)?;
    if let Some(warning) = warning {
        context.printer.warning(warning)?;
    }
    Ok(())
}

fn show(
    context: &Context,
    client: &Client,
    conf: &str,
    profile: &Profile<'_>,
    output: &Output<'_>,
) -> io::Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let text = output.out.is_none().then_some(conf);
        return printer.json(SCHEMA_VERSION, &Report { client, profile_file: output.out, profile: text });
    }
    if output.qr {
        qr_code(printer, &profile.to_bare_conf())?;
    } else if output.out.is_none() {
        printer.raw(conf)?;
    }
    printer.note(&output.done)?;
    match output.out {
        Some(out) => printer.note(format_args!("its profile is in {}; it holds secret keys", out.display())),
        None => printer.note("its profile is shown this once and stored nowhere"),
    }
}
