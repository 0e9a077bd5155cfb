//! One VMS site with the product on its gateway host: configured, initialised and running as an ordinary user.

mod configuration;
mod crowd;
mod egress;
mod readiness;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use vmsgate_keys::{DataDir, Keystore, Passphrase, Registry};
use zeroize::Zeroizing;

use crate::{
    binaries,
    manager::ServiceManager,
    process::{Process, User, capture, command},
    profile::Profile,
    recording::Recording,
    stock::StockClient,
    topology::{Family, PORT, Topology},
    video::{self, Clip},
    web::Web,
};

pub use self::{
    crowd::SOURCES,
    egress::{Egress, FORWARDING},
};

/// Where the gateway answers `/readyz`, on the loopback of its host.
pub const ADMIN: &str = "127.0.0.1:9586";

/// What a whole site needs installed, besides what its clients do.
pub const PROGRAMS: [&str; 5] = ["ip", "nsenter", "setpriv", "nginx", "ffmpeg"];

/// A site. Fields are dropped in order: the gateway first, the network last.
#[derive(Debug)]
pub struct Site {
    gateway: Option<Process>,
    /// The web server of the management server.
    pub web: Web,
    /// The other servers.
    pub recording: Recording,
    /// The clip that recorders play.
    pub clip: Clip,
    /// The network.
    pub topology: Topology,
    folder: TempDir,
    egress: Egress,
}

impl Site {
    /// Builds the site and starts its gateway; profiles name the gateway's address of the family `outside`.
    ///
    /// # Errors
    /// When anything does not start.
    pub fn start(outside: Family) -> Result<Self> {
        let mut site = Self::prepare(outside)?;
        site.run()?;
        Ok(site)
    }

    /// Builds the site, with its registry initialised, but leaves the gateway off.
    ///
    /// # Errors
    /// When anything fails.
    pub fn prepare(outside: Family) -> Result<Self> {
        Self::prepare_with(outside, Egress::asked_for()?)
    }

    /// The same with an egress that the test is about.
    ///
    /// # Errors
    /// When anything fails.
    pub fn prepare_with(outside: Family, egress: Egress) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("vmsgate-site-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()?;
        binaries::install(folder.path())?;
        let topology = Topology::build()?;
        egress.prepare(&topology)?;
        let clip = Clip::make(&binaries::cache()?, video::CAMERA)?;
        let recording = Recording::start(&topology, clip.clone())?;
        let web = Web::start(&topology, folder.path())?;
        let site = Self { gateway: None, web, recording, clip, topology, folder, egress };
        site.make_private_folder("data")?;
        site.write_private("passphrase", "correct horse battery staple\n")?;
        let endpoint = SocketAddr::new(Topology::gateway_address(outside), PORT);
        fs::write(site.config(), configuration::text(endpoint, &site.data(), egress))?;
        let init = [
            "init",
            "--endpoint",
            &endpoint.to_string(),
            "--tunnel",
            "10.99.0.0/16",
            "--tunnel",
            "fd00:99::/64",
        ];
        capture(&mut site.keys(&init))?;
        Ok(site)
    }

    /// Starts the gateway and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub fn run(&mut self) -> Result<()> {
        self.run_with(self.run_command())
    }

    /// The same with a command that runs the gateway in another way.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub fn run_with(&mut self, command: Command) -> Result<()> {
        self.take(Process::start("vmsgate run", command)?)
    }

    /// The same as a service manager starts it, with the sockets that it has.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub fn run_under(&mut self, manager: &ServiceManager) -> Result<()> {
        // Its copies of the sockets end here: whoever waits for them to be closed may be the gateway.
        let gateway = manager.passing(&self.run_command())?.start("vmsgate run")?;
        self.take(gateway)
    }

    fn take(&mut self, mut gateway: Process) -> Result<()> {
        self.wait_until_ready(&mut gateway)?;
        self.gateway = Some(gateway);
        Ok(())
    }

    /// Asks the gateway to end, waits until it has, and returns what it printed.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(&mut self) -> Result<String> {
        let (status, output) = self.gateway.take().context("the gateway does not run")?.stop()?;
        ensure!(status.success(), "the gateway ended with {status}:\n{output}");
        Ok(output)
    }

    /// Kills the gateway, as a crash or a power cut would end it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let gateway = self.gateway.take().context("the gateway does not run")?;
        gateway.signal(Signal::SIGKILL)?;
        gateway.wait()?;
        Ok(())
    }

    /// The running gateway.
    ///
    /// # Errors
    /// When it was not started.
    pub fn gateway(&mut self) -> Result<&mut Process> {
        self.gateway.as_mut().context("the gateway does not run")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Adds to the configuration file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, more: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())? + more;
        Ok(fs::write(self.config(), text)?)
    }

    /// Adds a recorder at `address` to the configuration and to the recording network; the caller serves its port.
    ///
    /// # Errors
    /// When the configuration cannot be written, or the network does not take the address.
    pub fn add_recorder(&self, address: Ipv4Addr) -> Result<()> {
        let name = format!("recorder-{}", address.octets()[3]);
        self.configure(&format!(
            "\n[[server]]\nname = \"{name}\"\naddress = \"{address}\"\nservices = [\"recording-server\"]\n"
        ))?;
        self.topology.recording.ip(&format!("addr add {address}/24 dev eth0"))?;
        Ok(())
    }

    /// The folder that holds everything of the site; any user may enter it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `vmsgate run` with the rights that the egress needs.
    #[must_use]
    pub fn run_command(&self) -> Command {
        self.product(self.egress.user(), "vmsgate", &["run"])
    }

    /// A `vmsgate` command on the gateway's host, run by the gateway's user.
    #[must_use]
    pub fn vmsgate(&self, arguments: &[&str]) -> Command {
        self.product(User::Gateway, "vmsgate", arguments)
    }

    /// A `vmsgate-keys` command on the gateway's host, run by the gateway's user.
    #[must_use]
    pub fn keys(&self, arguments: &[&str]) -> Command {
        self.product(User::Gateway, "vmsgate-keys", arguments)
    }

    /// Adds a client and returns its profile.
    ///
    /// # Errors
    /// When the product refuses.
    pub fn add_client(&self, name: &str, role: &str) -> Result<Profile> {
        let out = self.data().join(format!("{name}.conf"));
        let path = out.display().to_string();
        let operator = format!("Operator of {name}");
        let known = self.gateway.is_some().then(|| self.status()).transpose()?.map(|status| status.clients);
        capture(&mut self.keys(&[
            "client",
            "add",
            name,
            "--role",
            role,
            "--operator",
            &operator,
            "--out",
            &path,
        ]))?;
        let mode = fs::metadata(&out)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "the profile's mode is {mode:o}");
        if let Some(known) = known {
            self.wait_for_clients(known + 1)?;
        }
        Ok(Profile::new(fs::read_to_string(out)?))
    }

    /// Adds a client of that name and brings its profile up with stock WireGuard on a machine of its own.
    ///
    /// # Errors
    /// When the product or WireGuard refuses.
    pub fn stock_client(&self, name: &str, role: &str) -> Result<StockClient> {
        let profile = self.add_client(name, role)?;
        StockClient::up(self.topology.add_client()?, &profile)
    }

    /// The text of a profile that was given out.
    ///
    /// # Errors
    /// When there is no client of that name.
    pub fn profile_text(&self, name: &str) -> Result<String> {
        let path = self.data().join(format!("{name}.conf"));
        fs::read_to_string(&path).with_context(|| format!("Failed to read {}", path.display()))
    }

    /// The private key of the gateway's first identity.
    ///
    /// # Errors
    /// When the keystore or the registry cannot be opened.
    pub fn unsealed_identity(&self) -> Result<Zeroizing<[u8; 32]>> {
        let passphrase = Passphrase::from_file(&self.folder.path().join("passphrase"))?;
        let data = DataDir::new(self.data());
        let master = Keystore::read(&data.keystore())?.open(&passphrase)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let registry = Registry::open(&data.database()).await?;
            let identities = registry.identities().await?;
            registry.close().await;
            let first = identities.first().context("the registry has no identity")?;
            Ok(Zeroizing::new(*first.private_key(&master)?.as_bytes()))
        })
    }

    /// Writes a file that only the gateway's user can read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_private(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        chown(&path, Some(User::Gateway.uid()), Some(User::Gateway.uid()))?;
        Ok(path)
    }

    /// Makes a folder that only the gateway's user can enter.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_private_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        chown(&path, Some(User::Gateway.uid()), Some(User::Gateway.uid()))?;
        Ok(path)
    }

    fn product(&self, user: User, program: &str, arguments: &[&str]) -> Command {
        let mut command = command(&self.topology.gateway, user, self.folder.path().join(program));
        command
            .args(arguments)
            .current_dir("/")
            .env("VMSGATE_CONFIG", self.config())
            .env("VMSGATE_PASSPHRASE_FILE", self.folder.path().join("passphrase"))
            .env("RUST_BACKTRACE", "0");
        command
    }
}
