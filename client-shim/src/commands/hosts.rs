//! `vmsgate-shim hosts`

use vmsgate_cli::{CliError, Exit, Printer};
use vmsgate_shim::Report;

use crate::cli::InstanceArgs;
use crate::commands::status::ask;

pub fn execute(args: &InstanceArgs, printer: &Printer) -> Result<Exit, CliError> {
    let report = ask(args)?;
    if report.servers.is_empty() {
        let error = CliError::user("the running shim knows no servers yet");
        return Err(error.hint("`vmsgate-shim status` shows what it is waiting for"));
    }
    printer.raw(block(&report))?;
    Ok(Exit::Done)
}

/// The block, between marks by which it can be found and replaced.
fn block(report: &Report) -> String {
    let mut text = format!("# >>> vmsgate-shim {}\n", report.profile);
    for server in &report.servers {
        let mut names: Vec<&str> = server.hostnames.iter().map(String::as_str).collect();
        if !names.contains(&server.name.as_str()) {
            names.push(&server.name);
        }
        if let Some(address) = server.loopback {
            text += &format!("{:<15} {}\n", address.to_string(), names.join(" "));
        }
    }
    text += &format!("# <<< vmsgate-shim {}\n", report.profile);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_of_a_server_stands_beside_its_address() {
        let server = |name: &str, hostnames: &[&str], loopback: &str| {
            json!({"name": name, "hostnames": hostnames, "addresses": [], "loopback": loopback, "listeners": [],
                   "omitted": []})
        };
        let report: Report = serde_json::from_value(json!({
            "profile": "alice", "state": "connected", "since": "2026-11-24T10:00:00Z",
            "started": "2026-11-24T10:00:00Z", "trouble": null, "endpoint": null, "tunnel_addresses": [],
            "handshake_age_ms": null, "round_trip_ms": null, "bytes_received": 0, "bytes_sent": 0,
            "open_connections": 0, "last_failure": null, "keys": {"post_quantum": false, "post_quantum_required": false}, "site": null, "forwards": [],
            "servers": [
                server("mgmt", &["mgmt", "mgmt.vms.local"], "127.64.1.2"),
                server("rec01", &["recorder-1"], "127.127.255.254"),
            ],
        }))
        .unwrap();

        assert_eq!(
            block(&report),
            "# >>> vmsgate-shim alice\n\
             127.64.1.2      mgmt mgmt.vms.local\n\
             127.127.255.254 recorder-1 rec01\n\
             # <<< vmsgate-shim alice\n"
        );
    }
}
