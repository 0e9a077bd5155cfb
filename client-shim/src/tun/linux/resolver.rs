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
use crate::tun::wish::{Names, NamesState, by_hosts_file};

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
        let domains = marked(names).ok_or_else(|| by_hosts_file("the site has a name that is none"))?;
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
fn marked(names: &Names) -> Option<Vec<String>> {
    let suffixes = usize::from(names.suffix.is_some());
    let mut domains = names.domains()?;
    domains.iter_mut().skip(suffixes).for_each(|name| name.insert(0, '~'));
    Some(domains)
}

/// Whether programs ask systemd-resolved: by its address in resolv.conf, or by its module of the C library.
fn is_in_charge(resolv_conf: &str, nsswitch_conf: &str) -> bool {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let is_stub = |server: &str| matches!(server.trim(), "127.0.0.53" | "127.0.0.54");
    let hosts = nsswitch_conf.lines().filter_map(|line| line.trim().strip_prefix("hosts:"));
    servers.map(str::trim).any(is_stub) || hosts.flat_map(str::split_whitespace).any(|word| word == "resolve")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suffix_is_tried_behind_short_names() {
        let others = vec!["rec01.example.org".to_owned()];
        let mut names = Names { servers: Vec::new(), suffix: Some("vms.local".to_owned()), others };
        assert_eq!(marked(&names).unwrap(), ["vms.local", "~rec01.example.org"]);
        names.suffix = None;
        assert_eq!(marked(&names).unwrap(), ["~rec01.example.org"]);
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
