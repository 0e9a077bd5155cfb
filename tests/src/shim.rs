//! A client's machine with `vmsgate-shim up`, run by its ordinary user.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{PATIENCE, Process, User, capture, command},
    product::ShimReport,
    profile::Profile,
    site::Site,
    topology::ClientHost,
};

/// The running shim.
#[derive(Debug)]
pub struct ShimClient {
    process: Process,
    program: PathBuf,
    home: PathBuf,
    /// The machine.
    pub host: ClientHost,
}

impl ShimClient {
    /// Adds a client of that name and brings its profile up on a machine of its own.
    ///
    /// # Errors
    /// When the product refuses or does not connect in time.
    pub fn up(site: &Site, name: &str, role: &str) -> Result<Self> {
        let profile = site.add_client(name, role)?;
        Self::up_with(site, &profile, name, &[])
    }

    /// Brings a profile up with further arguments.
    ///
    /// # Errors
    /// When the product refuses or does not connect in time.
    pub fn up_with(site: &Site, profile: &Profile, name: &str, arguments: &[&str]) -> Result<Self> {
        let host = site.topology.add_client()?;
        // Ports below 1024 belong to root on Linux alone; elsewhere, as on a Windows laptop, anybody may listen there.
        host.namespace.sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
        let home = site.make_private_folder(&format!("home-{name}"))?;
        let path = home.join(format!("{name}.conf"));
        profile.write(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        for path in [&home, &path] {
            chown(path, Some(User::Client.uid()), Some(User::Client.uid()))?;
        }
        let program = site.folder().join("vmsgate-shim");
        let mut up = shim(&host, &program, &home);
        up.arg("up").arg(&path).args(arguments);
        let process = Process::start("vmsgate-shim up", up)?;
        let mut shim = Self { process, program, home, host };
        shim.wait_until_connected()?;
        Ok(shim)
    }

    /// A command on the client's machine, run as its ordinary user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command(&self.host.namespace, User::Client, program)
    }

    /// Where programs on the client's machine find a port of a server.
    ///
    /// # Errors
    /// When the shim does not offer it.
    pub fn listens_for(&self, server: &str, port: u16) -> Result<SocketAddr> {
        let report = self.report()?;
        let server = report.servers.iter().find(|offered| offered.name == server);
        let listeners = server.map(|server| &server.listeners).into_iter().flatten();
        let mut working =
            listeners.filter(|listener| listener.error.is_none()).map(|listener| listener.listen);
        working.find(|listen| listen.port() == port).with_context(|| format!("no listener: {report:?}"))
    }

    /// What `vmsgate-shim status --json` says.
    ///
    /// # Errors
    /// When the shim is not connected.
    pub fn report(&self) -> Result<ShimReport> {
        let text = capture(shim(&self.host, &self.program, &self.home).args(["status", "--json"]))?;
        serde_json::from_str(&text).with_context(|| format!("unexpected status of the shim: {text}"))
    }

    /// A `vmsgate-shim` command of the same user.
    #[must_use]
    pub fn shim(&self, arguments: &[&str]) -> Command {
        let mut command = shim(&self.host, &self.program, &self.home);
        command.args(arguments);
        command
    }

    /// The shim's process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks the shim until it is connected and knows the servers.
    fn wait_until_connected(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if report.as_ref().is_ok_and(|report| report.state == "connected" && report.site.is_some()) {
                return Ok(());
            }
            let printed = self.process.output();
            ensure!(
                self.process.is_running()?,
                "the shim ended before it was connected; it printed:\n{printed}"
            );
            ensure!(
                Instant::now() < deadline,
                "the shim is not connected: {report:?}; it printed:\n{printed}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn shim(host: &ClientHost, program: &Path, home: &Path) -> Command {
    let mut command = command(&host.namespace, User::Client, program);
    command.current_dir("/").env("XDG_RUNTIME_DIR", home).env("HOME", home).env("RUST_BACKTRACE", "0");
    command
}
