//! Where the rule that decided is written, so that whoever reads a verdict knows what to change.
//!
//! The verdict itself is [`Policy::decide`](vmsgate_tunnel::policy::Policy::decide)'s, which the packet path asks; this only
//! looks up its words.

use std::fmt;

use serde::Serialize;
use vmsgate_config::{Config, Role};
use vmsgate_tunnel::policy::{DenyReason, Verdict};

/// A place that a person can go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub(super) enum Origin {
    File {
        file: String,
        line: usize,
    },
    /// A role of the catalogue, the never-expose list, or what no configuration changes.
    Program,
}

impl Origin {
    /// None where no rule decided: the destination is no server.
    pub(super) fn of(verdict: &Verdict, config: &Config, role: &str, file: &str) -> Option<Self> {
        let role = config.roles.get(role);
        let in_file = |line: usize| Self::File { file: file.to_owned(), line };
        match verdict {
            Verdict::Allow(allowed) if allowed.control => Some(Self::Program),
            Verdict::Allow(allowed) => {
                Some(role.and_then(|role| line_of(role, &allowed.rule)).map_or(Self::Program, in_file))
            }
            Verdict::Deny(refusal) => match refusal.reason {
                DenyReason::UnknownDestination => None,
                // What is missing belongs among the role's rules.
                DenyReason::NotInRole => Some(
                    role.and_then(|role| role.written.as_ref()).map_or(Self::Program, |w| in_file(w.line)),
                ),
                _ => Some(Self::Program),
            },
        }
    }
}

/// The line of a rule that a verdict names as `ROLE: RULE`.
fn line_of(role: &Role, rule: &str) -> Option<usize> {
    let rule = rule.strip_prefix(&role.name)?.strip_prefix(": ")?;
    let at = role.allow.iter().position(|written| written == rule)?;
    role.written.as_ref()?.rules.get(at).copied()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Program => f.write_str("built in"),
        }
    }
}

#[cfg(test)]
mod tests {
    use vmsgate_tunnel::policy::Protocol;

    use super::*;
    use crate::policy_build::build_policy;

    const CONFIG: &str = r#"[gateway]
name = "gw-1"
listen = "0.0.0.0:51820"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16"]
data = "/var/lib/vmsgate"

[[server]]
name = "mgmt"
address = "192.168.10.10"
services = ["management-server"]

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server"]

[role.guard]
allow = [
  "mgmt:management-server",
  "rec*:recording-server",
]
"#;

    /// The line whose text this is, counted as an editor does.
    fn line(text: &str) -> Option<Origin> {
        let at = CONFIG.lines().position(|line| line.trim() == text).expect("the configuration has it");
        Some(Origin::File { file: "gateway.toml".to_owned(), line: at + 1 })
    }

    fn origin(role: &str, address: [u8; 4], port: u16) -> Option<Origin> {
        let config = Config::from_str(CONFIG, "gateway.toml").unwrap();
        let policy = build_policy(&config);
        let verdict = policy.decide(policy.role(role).unwrap(), address.into(), Protocol::Tcp, port);
        Origin::of(&verdict, &config, role, "gateway.toml")
    }

    #[test]
    fn a_rule_of_the_file_is_named_with_its_own_line() {
        assert_eq!(origin("guard", [192, 168, 10, 21], 7563), line("\"rec*:recording-server\","));
        assert_eq!(origin("guard", [192, 168, 10, 10], 443), line("\"mgmt:management-server\","));
    }

    #[test]
    fn a_role_that_lacks_a_rule_is_named_with_the_line_where_it_begins() {
        assert_eq!(origin("guard", [192, 168, 10, 21], 80), line("[role.guard]"));
    }

    #[test]
    fn what_no_line_of_the_file_decided_is_built_in_and_an_unknown_address_has_no_rule() {
        let program = Some(Origin::Program);
        assert_eq!(origin("smart-client", [192, 168, 10, 21], 7563), program, "a role of the catalogue");
        assert_eq!(origin("guard", [192, 168, 10, 21], 3389), program, "the never-expose list");
        assert_eq!(origin("guard", [10, 99, 0, 1], 80), program, "a control service");
        assert_eq!(origin("guard", [192, 168, 10, 99], 80), None);
    }
}
