//! `client add`: a new client and its profile, which exists only once.

use std::{fs, io, net::IpAddr, path::Path};

use jiff::Timestamp;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use serde::Serialize;
use vmsgate_cli::{CliError, OrFail, WithHint};
use vmsgate_config::address::Endpoint;
use vmsgate_keys::{
    Client, Existing, NewClient, PresharedKey, PrivateKey, Profile, PublicKey, Registry, write_private,
};
use zeroize::Zeroizing;

use crate::{
    cli::AddArgs,
    commands::client_report::ClientReport,
    context::{Context, SCHEMA_VERSION, addresses, registry_error},
    site::Site,
};

pub async fn run(context: &Context, args: AddArgs) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    site.check_role(&args.role)?;
    let now = Timestamp::now();
    let expires = args.expires.map(|when| when.after(now));
    if expires.is_some_and(|expires| expires <= now) {
        return Err(CliError::user("the time given with --expires is in the past"));
    }
    if let Some(out) = args.out.as_deref().filter(|out| out.exists()) {
        return Err(file_exists(out));
    }
    let gateway = GatewayFacts::of(registry, &site).await?;
    let master = context.master_key()?;

    let private_key = if args.public_key.is_some() { None } else { Some(PrivateKey::generate()) };
    let public_key = args.public_key.or(private_key.as_ref().map(PrivateKey::public_key));
    let public_key = public_key.ok_or_else(|| CliError::unexpected("no key was made"))?;
    let preshared_key = PresharedKey::generate();
    let (reachable, warning) = site.reachable(&args.role);
    let new = NewClient {
        name: args.name,
        operator: args.operator,
        role: args.role,
        expires,
        public_key,
        preshared_key: preshared_key.clone(),
    };
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let client = change.add_client(new, &site.ranges, &master).await.map_err(registry_error)?;
    let profile = Profile {
        client: &client,
        private_key: private_key.as_ref(),
        preshared_key: &preshared_key,
        gateway_name: &site.gateway_name,
        gateway_key: gateway.key,
        endpoint: &gateway.endpoint,
        gateway_addresses: &gateway.addresses,
        dns_suffix: site.dns_suffix.as_deref(),
        reachable: &reachable,
        mtu: site.mtu,
        made: now,
    };
    let conf = profile.to_conf();
    // The file comes first: a profile without a client is harmless, a client without its profile is useless.
    if let Some(out) = &args.out {
        write_profile(out, &conf)?;
    }
    if let Err(error) = change.commit().await {
        args.out.iter().for_each(|out| drop(fs::remove_file(out)));
        return Err(registry_error(error));
    }
    show(context, &client, &conf, &profile, args.out.as_deref(), args.qr)
        .map_err(|error| CliError::unexpected(format!("the profile could not be shown: {error}")))
        .hint(format!(
            "client `{0}` was added; revoke it and add the device under a new name",
            client.name
        ))?;
    if let Some(warning) = warning {
        context.printer.warning(warning)?;
    }
    Ok(())
}

struct GatewayFacts {
    key: PublicKey,
    endpoint: Endpoint,
    addresses: Vec<IpAddr>,
}

impl GatewayFacts {
    async fn of(registry: &Registry, site: &Site) -> Result<Self, CliError> {
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

fn show(
    context: &Context,
    client: &Client,
    conf: &str,
    profile: &Profile<'_>,
    out: Option<&Path>,
    qr: bool,
) -> io::Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let text = out.is_none().then_some(conf);
        return printer.json(SCHEMA_VERSION, &Report { client, profile_file: out, profile: text });
    }
    if qr {
        printer.raw(qr_code(&profile.to_bare_conf(), printer.is_terminal())?.as_bytes())?;
    } else if out.is_none() {
        printer.raw(conf)?;
    }
    let Client { name, role, .. } = client;
    printer
        .note(format_args!("client `{name}` added with role `{role}` and addresses {}", addresses(client)))?;
    match out {
        Some(out) => printer.note(format_args!("its profile is in {}; it holds secret keys", out.display())),
        None => printer.note("its profile is shown this once and stored nowhere"),
    }
}

fn write_profile(out: &Path, conf: &str) -> Result<(), CliError> {
    match write_private(out, conf.as_bytes(), Existing::Keep) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(file_exists(out)),
        written => written
            .or_user(format!("cannot write the profile to {}", out.display()))
            .hint("nothing was changed; name a file in a directory that you may write to"),
    }
}

fn file_exists(out: &Path) -> CliError {
    CliError::user(format!("{} exists already", out.display()))
        .hint("nothing was changed; name a new file with --out")
}

/// Dark on light even where the terminal is light on dark: most phones do not read the inverse.
fn qr_code(conf: &str, terminal: bool) -> io::Result<Zeroizing<String>> {
    const BLACK_ON_WHITE: &str = "\u{1b}[30;107m";
    const DEFAULT: &str = "\u{1b}[0m";
    let code = QrCode::with_error_correction_level(conf, EcLevel::L).map_err(io::Error::other)?;
    let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build();
    let picture = Zeroizing::new(picture);
    let (before, after) = if terminal { (BLACK_ON_WHITE, DEFAULT) } else { ("", "") };
    Ok(Zeroizing::new(picture.lines().map(|line| format!("{before}{line}{after}\n")).collect()))
}
