//! What names a configuration: the hash of its text, and the policy version.
//!
//! The policy version is a short name for "what was allowed", kept with every audit record.
//!
//! It is the beginning of the SHA-256 of a canonical text that has one line per fact which can change a verdict:
//! tunnel ranges, what a refusal looks like, servers with their addresses and exceptions, roles with their
//! permissions and where those ask for TLS, and the built-in never-expose list. Descriptions, host names, limits and the order of the file
//! are not part of it. The fields of a line are separated by tabs, which no name or address can contain.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::catalogue::NEVER_EXPOSE;
use crate::file::environment::Environment;
use crate::resolved::{Gateway, Permission, Role, Server};

/// Bytes of the digest that are kept: enough that two policies of one site never share a name by chance.
const KEPT_BYTES: usize = 8;

/// The hash of a whole configuration as [`Config::hash`](crate::Config::hash) documents it.
pub(crate) fn of_text(text: &str, environment: &Environment) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(text);
    for (variable, value) in environment.taken() {
        digest.update(format!("{variable}={value}\n"));
    }
    digest.finalize().into()
}

/// Names the policy that the parts make up.
pub(crate) fn of_policy(gateway: &Gateway, servers: &[Server], roles: &BTreeMap<String, Role>) -> String {
    let mut lines: Vec<String> = gateway.tunnel.iter().map(|range| format!("tunnel\t{range}")).collect();
    lines.push(format!("on-denied\t{:?}", gateway.on_denied));
    lines.extend(NEVER_EXPOSE.iter().map(|entry| format!("never\t{}", entry.ports)));
    for server in servers {
        lines.extend(server.addresses.iter().map(|address| format!("server\t{}\t{address}", server.name)));
        lines.extend(
            server
                .expose_anyway
                .iter()
                .map(|exposure| format!("except\t{}\t{}", server.name, exposure.ports)),
        );
    }
    for role in roles.values() {
        lines.push(format!("role\t{}\t{}", role.name, role.icmp));
        lines.extend(role.permissions.iter().map(|permission| {
            let (protocol, ports) = (permission.protocol, permission.ports);
            let tls = if permission.require_tls.is_some() { "\ttls" } else { "" };
            let Permission { server, service, .. } = permission;
            format!("allow\t{}\t{server}\t{service}\t{protocol}/{ports}{tls}", role.name)
        }));
    }
    lines.sort_unstable();
    lines.dedup();
    let digest = Sha256::digest(lines.join("\n"));
    digest.iter().take(KEPT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
