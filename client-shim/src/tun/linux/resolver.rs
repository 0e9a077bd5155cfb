//! Split DNS by systemd-resolved: the site's names are asked at the gateway, all others where they were asked before.
//!
//! Only `resolvectl` is used: it is wherever systemd-resolved is, and says in words what stands in the way. What it
//! sets belongs to the interface and goes with it.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::ErrorReport;
use crate::tun::wish::{Names, NamesState};

/// Where distributions have it; a search path would be the caller's.
const PROGRAMS: [&str; 3] =
    ["/usr/bin/resolvectl", "/bin/resolvectl", "/run/current-system/sw/bin/resolvectl"];
/// How long one call may take: it may have to wait for the message bus.
const LIMIT: Duration = Duration::from_secs(10);
const MAX_COMPLAINT_BYTES: u64 = 500;

/// The resolver's settings for one interface.
#[derive(Debug)]
pub(super) struct Resolver<'i> {
    interface: &'i str,
    asked: Option<Names>,
    state: NamesState,
}

impl<'i> Resolver<'i> {
    pub(super) fn new(interface: &'i str) -> Self {
        Self { interface, asked: None, state: NamesState::default() }
    }

    /// Has the gateway asked for `names` and for nothing else.
    pub(super) fn ask_for(&mut self, names: Option<&Names>) -> NamesState {
        if let Some(names) = names
            && self.asked.as_ref() != Some(names)
        {
            self.state = match self.set(names) {
                Ok(()) => NamesState::Gateway,
                Err(why) => NamesState::Unresolved(why),
            };
            self.asked = Some(names.clone());
        }
        self.state.clone()
    }

    fn set(&self, names: &Names) -> Result<(), ErrorReport> {
        let Some(program) = PROGRAMS.into_iter().find(|program| Path::new(program).exists()) else {
            return Err(by_hosts_file("this system has no systemd-resolved"));
        };
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        if !is_in_charge(&read("/etc/resolv.conf"), &read("/etc/nsswitch.conf")) {
            return Err(by_hosts_file("programs here do not ask systemd-resolved for names"));
        }
        let domains = domains(names).ok_or_else(|| by_hosts_file("the site has a name that is none"))?;
        let servers: Vec<String> = names.servers.iter().map(ToString::to_string).collect();
        for (setting, values) in
            [("dns", servers), ("domain", domains), ("default-route", vec!["no".to_owned()])]
        {
            self.run(program, setting, &values).map_err(|complaint| {
                by_hosts_file(&format!("systemd-resolved does not take the gateway's names: {complaint}"))
            })?;
        }
        // The gateway signs nothing and encrypts nothing that the tunnel does not, and no neighbour is behind it.
        for setting in ["dnssec", "dnsovertls", "llmnr", "mdns"] {
            let _ = self.run(program, setting, &["no".to_owned()]);
        }
        Ok(())
    }

    fn run(&self, program: &str, setting: &str, values: &[String]) -> Result<(), String> {
        let mut command = Command::new(program);
        command
            .args([setting, self.interface])
            .args(values)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn();
        child.and_then(finish).unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Waits for the end of a program; what it complained about, if it failed.
fn finish(mut child: Child) -> io::Result<Result<(), String>> {
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(Err("it does not answer".to_owned()));
        }
        thread::sleep(Duration::from_millis(10));
    };
    if status.success() {
        return Ok(Ok(()));
    }
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint)?;
    }
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    Ok(Err(if complaint.is_empty() { status.to_string() } else { complaint }))
}

/// As `resolvectl domain` takes them: `~` means that the domain is not tried behind short names.
fn domains(names: &Names) -> Option<Vec<String>> {
    let others = names.others.iter().map(|name| format!("~{name}"));
    let all: Vec<String> = names.suffix.iter().cloned().chain(others).collect();
    // The root would lead every name to the gateway.
    let sound = |name: &String| {
        let name = name.trim_start_matches('~');
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !name.trim_matches('.').is_empty()
            && name.len() <= 253
            && name.chars().all(safe)
            && !name.starts_with('-')
    };
    all.iter().all(sound).then_some(all)
}

/// Whether programs ask systemd-resolved: by its address in resolv.conf, or by its module of the C library.
fn is_in_charge(resolv_conf: &str, nsswitch_conf: &str) -> bool {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let is_stub = |server: &str| matches!(server.trim(), "127.0.0.53" | "127.0.0.54");
    let hosts = nsswitch_conf.lines().filter_map(|line| line.trim().strip_prefix("hosts:"));
    servers.map(str::trim).any(is_stub) || hosts.flat_map(str::split_whitespace).any(|word| word == "resolve")
}

fn by_hosts_file(why: &str) -> ErrorReport {
    ErrorReport {
        message: format!("{why}, so the servers' names are not known to programs"),
        hint: "use addresses, or put the names into the hosts file: vmsgate-shim hosts --apply".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sites_names_are_handed_over_and_never_the_root() {
        let names = |suffix: Option<&str>, others: &[&str]| Names {
            servers: Vec::new(),
            suffix: suffix.map(ToOwned::to_owned),
            others: others.iter().map(|name| (*name).to_owned()).collect(),
        };
        let handed = domains(&names(Some("vms.local"), &["rec01.example.org"])).unwrap();
        assert_eq!(handed, ["vms.local", "~rec01.example.org"]);
        for bad in ["", ".", "a b", "--help", "x\ny"] {
            assert_eq!(domains(&names(None, &[bad])), None, "{bad:?}");
            assert_eq!(domains(&names(Some(bad), &[])), None, "{bad:?}");
        }
    }

    #[test]
    fn a_resolver_that_nobody_asks_is_not_in_charge() {
        let stub = "# x\nnameserver 127.0.0.53\noptions edns0\n";
        assert!(is_in_charge(stub, ""));
        assert!(is_in_charge("nameserver 192.168.1.1\n", "hosts: files resolve [!UNAVAIL=return] dns\n"));
        assert!(!is_in_charge("nameserver 192.168.1.1\n# nameserver 127.0.0.53\n", "hosts: files dns\n"));
    }

    #[test]
    fn what_a_program_complains_about_is_told() {
        let run = |script: &str| {
            finish(Command::new("sh").args(["-c", script]).stderr(Stdio::piped()).spawn().unwrap()).unwrap()
        };
        assert_eq!(run("exit 0"), Ok(()));
        assert_eq!(
            run("echo 'Failed to set DNS: Access denied' >&2; exit 1"),
            Err("Failed to set DNS: Access denied".to_owned())
        );
        assert_eq!(run("exit 3"), Err("exit status: 3".to_owned()));
    }
}
