//! `vmsgate demo`: the whole product on one machine, without root, configuration or network.
//!
//! A small simulated VMS, the real gateway, and a Smart Client behind the real shim, all in this process and on
//! loopback addresses. Each step checks what it shows; the demonstration succeeds only if every step held.

mod client;
mod steps;
mod vms;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::LocalSet;
use vmsgate_cli::args::InstallationArgs;
use vmsgate_cli::{CliError, Exit, OrFail, WithHint};
use vmsgate_config::Config;
use vmsgate_keys::registry::{ClientName, NewClient, Operator, Settings};
use vmsgate_keys::{
    Actor, DataDir, Installation, Passphrase, PresharedKey, PrivateKey, Profile, TunnelRanges,
};

use self::steps::Steps;
use self::vms::Vms;
use crate::commands::Context;
use crate::run::{Gateway, Start};

/// A demonstration that hangs is a failed one.
const LIMIT: Duration = Duration::from_secs(30);
pub const CLIENT: &str = "alice-laptop";
const ROLE: &str = "demo-operator";

/// Runs the demonstration and removes what it made.
pub async fn run(context: &mut Context) -> Result<Exit, CliError> {
    let folder = tempfile::tempdir().or_unexpected("cannot make a temporary folder")?;
    let local = LocalSet::new();
    let shown = local.run_until(tokio::time::timeout(LIMIT, show(context, folder.path()))).await;
    shown.unwrap_or_else(|_| {
        Err(CliError::user(format!("the demonstration did not end within {} s", LIMIT.as_secs())))
    })
}

async fn show(context: &mut Context, folder: &Path) -> Result<Exit, CliError> {
    let steps = Steps::new(&context.printer);
    let vms = Vms::start().await?;
    steps.vms(&vms)?;

    let (site, profile) = Site::make(folder).await?;
    let gateway = Gateway::start(Start {
        config: site.config.clone(),
        config_path: None,
        data: site.data.clone(),
        passphrase: passphrase()?,
        actor: Actor::current(),
    })
    .await?;
    steps.gateway(gateway.listening())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::task::spawn_local(gateway.serve(
        async {
            // A dropped sender is a wish to stop too.
            let _ = stopped.await;
            "demo"
        },
        std::future::pending,
    ));

    let result = client::play(&steps, &site, profile).await;
    // The gateway may have ended by itself; its result tells.
    let _ = stop.send(());
    serving.await.or_unexpected("the gateway ended unexpectedly")??;
    result?;

    context.installation = installation(&site.data);
    steps::show_records(context).await?;
    steps::show_next(&context.printer)?;
    Ok(Exit::Done)
}

/// An installation with one client, in a temporary folder.
pub struct Site {
    pub config: Config,
    pub data: DataDir,
    pub installation: Installation,
}

impl Site {
    async fn make(folder: &Path) -> Result<(Site, vmsgate_shim::Profile), CliError> {
        let text = configuration(folder, free_udp_port()?);
        let config =
            Config::from_str(&text, "the demonstration's configuration").map_err(CliError::unexpected)?;
        let data = DataDir::new(folder.join("data"));
        let ranges = TunnelRanges::new(config.gateway.tunnel.clone()).map_err(CliError::unexpected)?;
        let settings = Settings {
            name: config.gateway.name.clone(),
            endpoints: config.gateway.endpoints.clone(),
            tunnel: ranges.clone(),
        };
        let actor = Actor::current();
        let installation =
            data.initialise(&passphrase()?, &settings, &actor).await.map_err(CliError::unexpected)?;
        let profile = add_client(&installation, &config, &ranges, &actor).await?;
        Ok((Site { config, data, installation }, profile))
    }
}

async fn add_client(
    installation: &Installation,
    config: &Config,
    ranges: &TunnelRanges,
    actor: &Actor,
) -> Result<vmsgate_shim::Profile, CliError> {
    let (private, preshared) = (PrivateKey::generate(), PresharedKey::generate());
    let mut change = installation.registry.change(actor).await.map_err(CliError::unexpected)?;
    let new = NewClient {
        name: CLIENT.parse::<ClientName>().map_err(CliError::unexpected)?,
        operator: "Alice Example".parse::<Operator>().map_err(CliError::unexpected)?,
        role: ROLE.to_owned(),
        expires: None,
        public_key: private.public_key(),
        preshared_key: preshared.clone(),
    };
    let client = change.add_client(new, ranges, &installation.master).await.map_err(CliError::unexpected)?;
    change.commit().await.map_err(CliError::unexpected)?;
    let endpoint = config.gateway.endpoints.first().ok_or_else(|| CliError::unexpected("no endpoint"))?;
    let text = Profile {
        client: &client,
        private_key: Some(&private),
        preshared_key: &preshared,
        gateway_name: &config.gateway.name,
        gateway_key: installation.identity.public_key,
        endpoint,
        gateway_addresses: &config.gateway.tunnel_addresses(),
        dns_suffix: None,
        reachable: &[],
        mtu: config.gateway.mtu,
        made: jiff::Timestamp::now(),
    }
    .to_conf();
    vmsgate_shim::Profile::parse(&text, "alice.conf", CLIENT.to_owned()).map_err(CliError::unexpected)
}

fn configuration(folder: &Path, port: u16) -> String {
    let data = folder.join("data");
    format!(
        r#"
        [gateway]
        name = "demo"
        listen = "127.0.0.1:{port}"
        endpoint = "127.0.0.1:{port}"
        tunnel = ["10.99.0.0/16"]
        data = {data:?}

        [service.management-page]
        tcp = [{web}]

        [role.{ROLE}]
        allow = ["mgmt:management-page", "rec01:recording-server"]

        [[server]]
        name = "mgmt"
        address = "{mgmt}"
        services = ["management-page"]

        [[server]]
        name = "rec01"
        address = "{rec}"
        services = ["recording-server"]

        [admin]
        listen = "127.0.0.1:0"
        "#,
        web = vms::WEB_PORT,
        mgmt = vms::MANAGEMENT,
        rec = vms::RECORDER,
    )
}

fn free_udp_port() -> Result<u16, CliError> {
    let free = || UdpSocket::bind("127.0.0.1:0")?.local_addr();
    let address =
        free().or_user("cannot open a UDP socket on 127.0.0.1").hint("the demonstration needs loopback")?;
    Ok(address.port())
}

/// It protects an installation that lives for half a minute.
fn passphrase() -> Result<Passphrase, CliError> {
    Passphrase::new(b"the demonstration's passphrase").map_err(CliError::unexpected)
}

fn installation(data: &DataDir) -> InstallationArgs {
    let data: PathBuf = data.path().to_owned();
    InstallationArgs { config: None, data: Some(data), passphrase_file: None, actor: None }
}
