//! A client's machine with `vmsgate-shim up`, run by its ordinary user.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    process::{PATIENCE, Process, User, capture, command},
    product::{ShimProxy, ShimReport},
    profile::Profile,
    site::Site,
    topology::ClientHost,
    wine::Wine,
};

/// A client's machine with the program and a home for its ordinary user.
#[derive(Debug)]
pub struct ShimMachine {
    program: PathBuf,
    home: PathBuf,
    /// What runs the program in its form for Windows.
    wine: Option<Wine>,
    /// The machine.
    pub host: ClientHost,
}

/// The running shim.
#[derive(Debug)]
pub struct ShimClient {
    process: Process,
    profile: PathBuf,
    /// Where it runs.
    pub machine: ShimMachine,
}

impl ShimMachine {
    /// Puts a machine on the internet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(site: &Site, name: &str) -> Result<Self> {
        let host = site.topology.add_client()?;
        // Ports below 1024 belong to root on Linux alone; elsewhere, as on a Windows laptop, anybody may listen there.
        host.namespace.sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
        let home = site.make_private_folder(&format!("home-{name}"))?;
        chown(&home, Some(User::Client.uid()), Some(User::Client.uid()))?;
        Ok(Self { program: site.folder().join("vmsgate-shim"), home, wine: None, host })
    }

    /// Puts a machine on the internet whose user has Windows. Programs other than the shim are still this system's.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn windows(site: &Site, name: &str) -> Result<Self> {
        let machine = Self::new(site, name)?;
        let wine = Wine::install(&machine.host.namespace, &machine.home)?;
        Ok(Self { wine: Some(wine), ..machine })
    }

    /// The user's Windows, if that is what the machine has.
    #[must_use]
    pub fn wine(&self) -> Option<&Wine> {
        self.wine.as_ref()
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A path in the user's home.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Puts a profile into the user's home.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn take(&self, profile: &Profile, name: &str) -> Result<PathBuf> {
        let path = self.path(&format!("{name}.conf"));
        profile.write(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        chown(&path, Some(User::Client.uid()), Some(User::Client.uid()))?;
        Ok(path)
    }

    /// A command on the machine, run as its ordinary user.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command(&self.host.namespace, User::Client, program)
    }

    /// A `vmsgate-shim` command of the user.
    #[must_use]
    pub fn shim(&self, arguments: &[&str]) -> Command {
        self.shim_as(User::Client, arguments)
    }

    /// The same with the rights of `user`, where the machine is no Windows.
    #[must_use]
    pub fn shim_as(&self, user: User, arguments: &[&str]) -> Command {
        match &self.wine {
            Some(wine) => self.run(&wine.shim(), arguments),
            None => {
                let mut command = self.at_home(user, &self.program);
                command.args(arguments);
                command
            }
        }
    }

    fn at_home(&self, user: User, program: &Path) -> Command {
        let mut command = command(&self.host.namespace, user, program);
        command.current_dir(&self.home).env("XDG_RUNTIME_DIR", &self.home);
        command.env("HOME", &self.home).env("RUST_BACKTRACE", "0");
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        command
    }

    /// One of the user's programs, with the user's surroundings.
    #[must_use]
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = match &self.wine {
            Some(wine) => wine.command(&self.host.namespace, program),
            None => self.at_home(User::Client, program),
        };
        command.args(arguments);
        command
    }

    /// A path that the shim has told, as this system has it.
    #[must_use]
    pub fn here(&self, path: &str) -> PathBuf {
        self.wine.as_ref().map_or_else(|| PathBuf::from(path), |wine| wine.here(path))
    }

    /// Everything in the user's own folders but temporary files, links not followed.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(&self) -> Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.wine.as_ref().map_or_else(|| self.home.clone(), Wine::users)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name() == "Temp" {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        Ok(found)
    }

    /// Brings up a profile that is on the machine, and waits until it is connected.
    ///
    /// # Errors
    /// When the product refuses or does not connect in time.
    pub fn up(self, profile: PathBuf, arguments: &[&str]) -> Result<ShimClient> {
        self.up_as(User::Client, profile, arguments)
    }

    /// The same with the rights of `user`.
    ///
    /// # Errors
    /// When the product refuses or does not connect in time.
    pub fn up_as(self, user: User, profile: PathBuf, arguments: &[&str]) -> Result<ShimClient> {
        let mut up = self.shim_as(user, &["up"]);
        // Windows has other paths; both find a file of the user's home, the present folder, by its name.
        let path = if self.wine.is_some() { profile.strip_prefix(&self.home)? } else { &profile };
        up.arg(path).args(arguments);
        let process = Process::start("vmsgate-shim up", up)?;
        let client = ShimClient { process, profile, machine: self };
        client.wait_until_connected()?;
        Ok(client)
    }
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
        let machine = ShimMachine::new(site, name)?;
        let path = machine.take(profile, name)?;
        machine.up(path, arguments)
    }

    /// Brings a profile up in mode `tun` with the rights that it needs, and waits until every server that the gateway
    /// tells of is routed or refused.
    ///
    /// # Errors
    /// When the product refuses or does not connect in time.
    pub fn up_routing(machine: ShimMachine, profile: PathBuf) -> Result<Self> {
        let client = machine.up_as(User::ClientNetAdmin, profile, &["--mode", "tun"])?;
        client.wait_until_routed()
    }

    /// Asks the shim until every server that the gateway tells of is routed or refused.
    ///
    /// # Errors
    /// When that takes too long, or the shim ends.
    pub fn wait_until_routed(self) -> Result<Self> {
        self.wait_until("routing", |report| report.servers.iter().all(|server| !server.routes.is_empty()))?;
        Ok(self)
    }

    /// Asks the shim until exactly these servers are routed.
    ///
    /// # Errors
    /// When that takes too long, or the shim ends.
    pub fn wait_until_servers_are(&self, names: &[&str]) -> Result<()> {
        self.wait_until(&format!("routing {names:?}"), |report| {
            let mut servers = report.servers.iter();
            report.servers.len() == names.len()
                && servers.all(|server| names.contains(&server.name.as_str()) && !server.routes.is_empty())
        })
    }

    /// A command on the client's machine, run as its ordinary user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.machine.command(program)
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
        let text = capture(&mut self.shim(&["status", "--json"]))?;
        serde_json::from_str(&text).with_context(|| format!("unexpected status of the shim: {text}"))
    }

    /// The same, whole.
    ///
    /// # Errors
    /// When the shim is not connected.
    pub fn status(&self) -> Result<serde_json::Value> {
        let text = capture(&mut self.shim(&["status", "--json"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The proxy of mode `socks`, with its password.
    ///
    /// # Errors
    /// When the shim is not connected, or in another mode.
    pub fn proxy(&self) -> Result<ShimProxy> {
        let text = capture(&mut self.shim(&["status", "--json", "--show-password"]))?;
        let report: ShimReport = serde_json::from_str(&text)?;
        report.proxy.with_context(|| format!("no proxy: {text}"))
    }

    /// The profile's file, which the shim keeps up to date.
    #[must_use]
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// A `vmsgate-shim` command of the same user.
    #[must_use]
    pub fn shim(&self, arguments: &[&str]) -> Command {
        self.machine.shim(arguments)
    }

    /// The shim's process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills the shim, as a crash would end it; its machine stays.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(self) -> Result<ShimMachine> {
        self.process.signal(Signal::SIGKILL)?;
        self.into_machine()
    }

    /// Waits until the shim has ended; its machine stays.
    ///
    /// # Errors
    /// When it does not end.
    pub fn into_machine(self) -> Result<ShimMachine> {
        self.process.wait()?;
        Ok(self.machine)
    }

    /// Waits until the shim has ended by itself: its machine, its exit status, and what it printed.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(self) -> Result<(ShimMachine, ExitStatus, String)> {
        let (status, output) = self.process.wait()?;
        Ok((self.machine, status, output))
    }

    /// Asks the shim until the gateway has told it a warning that contains `text`.
    ///
    /// # Errors
    /// When that takes too long, or the shim ends.
    pub fn wait_for_warning(&self, text: &str) -> Result<()> {
        let told = |site: &serde_json::Value| site["warnings"].to_string().contains(text);
        self.wait_until(&format!("told of the warning `{text}`"), |report| {
            report.site.as_ref().is_some_and(told)
        })
    }

    /// Asks the shim until it is connected and knows the servers.
    ///
    /// # Errors
    /// When that takes too long, or the shim ends.
    pub fn wait_until_connected(&self) -> Result<()> {
        self.wait_until("connected", |report| report.state == "connected" && report.site.is_some())
    }

    /// A shim that is not connected says so and is asked again.
    fn wait_until(&self, state: &str, reached: impl Fn(&ShimReport) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if report.as_ref().is_ok_and(&reached) {
                return Ok(());
            }
            let printed = self.process.output();
            ensure!(
                !self.process.has_ended(),
                "the shim ended before it was {state}; it printed:\n{printed}"
            );
            ensure!(Instant::now() < deadline, "the shim is not {state}: {report:?}; it printed:\n{printed}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
