//! Addresses and routes, by the command that Windows has for them: it says what it does, and what it would not do.

use std::env;
use std::io;
use std::net::IpAddr;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

/// No console window for a moment where there is none.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// A command of Windows failed.
#[derive(Debug, Error)]
pub enum NetshError {
    #[error("{program} cannot be started")]
    Start {
        program: &'static str,
        #[source]
        error: io::Error,
    },
    #[error("`{program} {arguments}` failed: {said}")]
    Failed { program: &'static str, arguments: String, said: String },
}

/// Gives the interface its addresses and its MTU; answers the addresses whose family this machine has.
///
/// # Errors
/// When it takes none.
pub(super) fn bring_up(name: &str, mtu: u16, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, NetshError> {
    let mut taken = Vec::new();
    let mut failed = None;
    for address in addresses {
        match add_address(name, mtu, *address) {
            Ok(()) => taken.push(*address),
            // IPv6 may be off.
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if taken.is_empty() => Err(error),
        _ => Ok(taken),
    }
}

fn add_address(name: &str, mtu: u16, address: IpAddr) -> Result<(), NetshError> {
    let family = family(address);
    let interface = format!("interface={name}");
    // Nobody else in the tunnel has our address, so it need not be asked for.
    netsh(&["interface", family, "set", "interface", &interface, "dadtransmits=0", "store=active"])?;
    let prefix = format!("address={}", single(address));
    let named = if address.is_ipv4() { format!("name={name}") } else { interface.clone() };
    netsh(&["interface", family, "add", "address", &named, &prefix, "store=active"])?;
    let mtu = format!("mtu={mtu}");
    netsh(&["interface", family, "set", "subinterface", &interface, &mtu, "store=active"])
}

pub(super) fn add_route(name: &str, address: IpAddr) -> Result<(), NetshError> {
    let (prefix, interface) = (format!("prefix={}", single(address)), format!("interface={name}"));
    let family = family(address);
    netsh(&["interface", family, "add", "route", &prefix, &interface, "metric=0", "store=active"])
}

pub(super) fn delete_route(name: &str, address: IpAddr) -> Result<(), NetshError> {
    let (prefix, interface) = (format!("prefix={}", single(address)), format!("interface={name}"));
    netsh(&["interface", family(address), "delete", "route", &prefix, &interface, "store=active"])
}

/// Has programs forget what names were.
pub(super) fn forget_names() -> Result<(), NetshError> {
    run("ipconfig.exe", &["/flushdns"])
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

fn single(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn netsh(arguments: &[&str]) -> Result<(), NetshError> {
    run("netsh.exe", arguments)
}

/// Runs a program of Windows' own folder; a search path would be the caller's.
fn run(program: &'static str, arguments: &[&str]) -> Result<(), NetshError> {
    let windows = env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let output = Command::new(Path::new(&windows).join("System32").join(program))
        .args(arguments)
        .stdin(Stdio::null())
        .creation_flags(CREATE_NO_WINDOW)
        .output()
        .map_err(|error| NetshError::Start { program, error })?;
    tracing::debug!(program, arguments = arguments.join(" "), status = %output.status, "asked Windows");
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(NetshError::Failed { program, arguments: arguments.join(" "), said })
}
