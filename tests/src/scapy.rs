//! Malformed packets by scapy, which knows more ways to be wrong than we do: `tests/malformed.py` says which.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// What Debian's `python3-scapy` installs.
pub const MODULE: &str = "/usr/lib/python3/dist-packages/scapy/__init__.py";

/// What one run of the script made.
#[derive(Debug, Default)]
pub struct Made {
    /// Nothing of it may pass.
    pub malformed: Vec<Vec<u8>>,
    /// By chance some of it may be right.
    pub fuzzed: Vec<Vec<u8>>,
}

/// Packets from a client's own addresses to a server's port, and `count` fuzzed ones, the same for the same `seed`.
///
/// # Errors
/// When the script fails.
pub fn packets(
    own: (Ipv4Addr, Ipv6Addr),
    to: (Ipv4Addr, Ipv6Addr),
    port: u16,
    seed: u64,
    count: usize,
) -> Result<Made> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("malformed.py");
    // Debian's own: the module is installed for no other.
    let mut python = Command::new("/usr/bin/python3");
    python.arg(script).args([own.0.to_string(), own.1.to_string(), to.0.to_string(), to.1.to_string()]);
    let output = python.args([port.to_string(), seed.to_string(), count.to_string()]).output()?;
    ensure!(output.status.success(), "malformed.py: {}", String::from_utf8_lossy(&output.stderr));
    let (mut made, mut rest) = (Made::default(), &output.stdout[..]);
    while let Some(([letter, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (packet, after) = after.split_at_checked(length).context("malformed.py ends in a packet")?;
        match letter {
            b'm' => made.malformed.push(packet.to_vec()),
            b'f' => made.fuzzed.push(packet.to_vec()),
            other => bail!("malformed.py wrote {other:#x} where a letter should be"),
        }
        rest = after;
    }
    Ok(made)
}
