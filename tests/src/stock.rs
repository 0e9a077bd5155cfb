//! Stock WireGuard: Debian's wireguard-go, configured by `wg setconf`, with a TUN interface and kernel routes.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    netns::Netns,
    process::{Process, User, capture, command},
    profile::Profile,
    topology::ClientHost,
};

/// What the tests with a stock client need installed.
pub const PROGRAMS: [&str; 5] = ["wireguard-go", "wg", "wg-quick", "ip", "nsenter"];

/// Where wireguard-go puts its control sockets.
const SOCKETS: &str = "/var/run/wireguard";

/// A running wireguard-go interface in some namespace.
#[derive(Debug)]
pub struct Interface {
    process: Process,
    name: String,
    _folder: TempDir,
}

/// A client's machine with a stock tunnel.
#[derive(Debug)]
pub struct StockClient {
    interface: Interface,
    /// The machine.
    pub host: ClientHost,
}

impl StockClient {
    /// Brings the profile up on `host`, as `wg-quick up` would: interface, addresses, MTU, a route for each allowed range.
    ///
    /// # Errors
    /// When a tool refuses the profile.
    pub fn up(host: ClientHost, profile: &Profile) -> Result<Self> {
        let interface = Interface::up(&host.namespace, profile)?;
        for range in profile.values("AllowedIPs") {
            host.namespace.ip(&format!("route add {range} dev {}", interface.name))?;
        }
        Ok(Self { interface, host })
    }

    /// A command on the client's machine, run as its ordinary user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command(&self.host.namespace, User::Client, program)
    }

    /// A command on the client's machine, run as root: nmap needs raw sockets.
    #[must_use]
    pub fn root_command(&self, program: &str) -> Command {
        command(&self.host.namespace, User::Root, program)
    }

    /// The tunnel interface.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        // Killed, wireguard-go leaves its control socket behind.
        let _ = fs::remove_file(Path::new(SOCKETS).join(format!("{}.sock", self.name)));
    }
}

impl Interface {
    /// Starts wireguard-go with the profile's keys, peers, addresses and MTU. Adds no routes.
    ///
    /// # Errors
    /// When a tool refuses the profile.
    pub fn up(namespace: &Netns, profile: &Profile) -> Result<Self> {
        // wireguard-go's control sockets share one folder across namespaces, so the name is unique on the machine.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut program = command(namespace, User::Root, "wireguard-go");
        program
            .args(["-f", &name])
            .env("LOG_LEVEL", "verbose")
            .env("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1");
        let process = Process::start("wireguard-go", program)?;
        process.wait_for_line("wireguard-go to start", |line| line.contains("UAPI listener started"))?;
        let folder = tempfile::tempdir()?;
        let stripped = folder.path().join("setconf");
        fs::write(&stripped, profile.strip(folder.path())?)?;
        capture(command(namespace, User::Root, "wg").args(["setconf", &name]).arg(stripped))?;
        for address in profile.values("Address") {
            namespace.ip(&format!("addr add {address} dev {name}"))?;
        }
        let mtu = profile.values("MTU").first().copied().unwrap_or("1420").to_owned();
        namespace.ip(&format!("link set {name} mtu {mtu} up"))?;
        Ok(Self { process, name, _folder: folder })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process, e.g. to measure it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}
