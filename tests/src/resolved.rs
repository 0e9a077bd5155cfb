//! systemd-resolved on a client's machine: the real one, with a message bus of its own, and files that only the programs
//! of this machine see.
//!
//! Its package is unpacked and not installed, since installing it would change who resolves names for the whole machine:
//! `.ci/run` does it.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};

use crate::{
    netns::Netns,
    process::{Process, capture},
    require,
};

/// Where the package is unpacked.
const PACKAGE: &str = "/var/cache/vmsgate-tests/systemd-resolved";

/// Mounts of its own, then the bus and the resolver; both end with the shell.
const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mkdir -p /run/dbus /run/systemd
mount -t tmpfs tmpfs /run/dbus
mount -t tmpfs tmpfs /run/systemd
files=/run/systemd/files
mkdir -p /run/systemd/resolve "$files"
cp /etc/passwd "$files/passwd"; echo 'systemd-resolve:x:996:996::/:/usr/sbin/nologin' >> "$files/passwd"
cp /etc/group "$files/group"; echo 'systemd-resolve:x:996:' >> "$files/group"
echo 'nameserver 127.0.0.53' > "$files/resolv.conf"
for file in passwd group resolv.conf; do mount --bind "$files/$file" "/etc/$file"; done
mount -t overlay overlay -o "lowerdir=$PACKAGE/usr/bin:/usr/bin" /usr/bin
chown 996:996 /run/systemd/resolve
cat > "$files/bus.conf" <<END
<busconfig>
  <type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
END
dbus-daemon --config-file="$files/bus.conf" --nofork --nopidfile &
"$PACKAGE/lib/systemd/systemd-resolved" &
until resolvectl status > /dev/null 2>&1; do sleep 0.05; done
echo 'the resolver answers'
wait
"#;

/// A machine's resolver.
#[derive(Debug)]
pub struct Resolved {
    shell: Process,
    network: String,
}

/// Whether the current test can run; says why not, aloud, when it cannot.
///
/// # Panics
/// When it is missing although it is required.
#[must_use]
pub fn can_run() -> bool {
    let program = format!("{PACKAGE}/lib/systemd/systemd-resolved");
    require::has(&["unshare", "dbus-daemon", "getent"]) && require::has_file(Path::new(&program))
}

impl Resolved {
    /// Starts it on a machine.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(host: &Netns) -> Result<Self> {
        let mut shell = host.command("unshare");
        shell.args(["-m", "bash", "-c", SCRIPT]).env("PACKAGE", PACKAGE);
        let shell = Process::start("systemd-resolved", shell)?;
        shell.wait_for_line("the resolver", |line| line == "the resolver answers")?;
        Ok(Self { shell, network: format!("--net=/run/netns/{}", host.name()) })
    }

    /// A command on the machine, among the programs that see its files; run as root.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.shell.id().to_string(), "-m", &self.network, "--", program]);
        command
    }

    /// The IPv4 address that programs get for a name.
    ///
    /// # Errors
    /// When they get none.
    pub fn address_of(&self, name: &str) -> Result<Ipv4Addr> {
        let text = capture(self.command("getent").args(["ahostsv4", name]))?;
        let word = text.split_whitespace().next().context("no answer")?;
        Ok(word.parse()?)
    }
}

/// A name server that has one answer for every name, and remembers the names.
#[derive(Debug)]
pub struct NameServer {
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl NameServer {
    /// Serves on port 53 of an address of `host`.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(host: &Netns, address: Ipv4Addr, answer: Ipv4Addr) -> Result<Self> {
        let socket = host.run(|| UdpSocket::bind(SocketAddr::new(address.into(), 53)))??;
        let asked = Arc::<Mutex<BTreeSet<String>>>::default();
        let names = Arc::clone(&asked);
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some((name, reply)) = reply(packet.get(..length).unwrap_or_default(), answer) {
                    names.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Ok(Self { asked })
    }

    /// Every name that it was asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name that is asked for, and the answer (RFC 1035, section 4): an address if one is asked for.
fn reply(question: &[u8], address: Ipv4Addr) -> Option<(String, Vec<u8>)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*question.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let end = at + 5;
    let is_address = question.get(at + 1..at + 3)? == [0, 1];
    let mut reply = question.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    reply.extend(question.get(12..end)?);
    if is_address {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address.octets());
    }
    Some((labels.join("."), reply))
}
