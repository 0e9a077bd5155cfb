//! What this machine is asked to route and to resolve, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::report::ErrorReport;

/// What the machine is asked for. The newest wish replaces those before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wish {
    /// Comes back in the [`Outcome`].
    pub number: u64,
    /// Each to be routed by itself.
    pub addresses: BTreeSet<IpAddr>,
    pub names: Option<Names>,
}

/// Names that the gateway answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// Where it answers, in the tunnel.
    pub servers: Vec<IpAddr>,
    /// The site's suffix, which is also tried behind short names.
    pub suffix: Option<String>,
    /// Names outside of it.
    pub others: Vec<String>,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub number: u64,
    /// What leads into the tunnel now.
    pub routed: BTreeSet<IpAddr>,
    /// What does not, and why.
    pub refused: BTreeMap<IpAddr, ErrorReport>,
    pub names: NamesState,
}

/// Who resolves the site's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamesState {
    /// Not known yet.
    #[default]
    Pending,
    /// The gateway, asked by the system's resolver for these names alone.
    Gateway,
    /// Nobody: the system has no resolver that could ask it for these names alone.
    Unresolved(ErrorReport),
}

#[cfg(any(target_os = "linux", windows))]
impl Names {
    /// What the gateway is to be asked for, the suffix first; none if one of them is no name.
    pub(super) fn domains(&self) -> Option<Vec<String>> {
        let all: Vec<String> = self.suffix.iter().chain(&self.others).cloned().collect();
        all.iter().all(|name| is_sound(name)).then_some(all)
    }
}

/// The root would lead every name to the gateway.
#[cfg(any(target_os = "linux", windows))]
fn is_sound(name: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.trim_matches('.').is_empty()
        && name.len() <= 253
        && name.chars().all(safe)
        && !name.starts_with('-')
}

/// Why the site's names are not resolved, and what serves in place of that.
#[cfg(any(target_os = "linux", windows))]
pub(super) fn by_hosts_file(why: &str) -> ErrorReport {
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
        let handed = names(Some("vms.local"), &["rec01.example.org"]).domains().unwrap();
        assert_eq!(handed, ["vms.local", "rec01.example.org"]);
        for bad in ["", ".", "a b", "--help", "x\ny"] {
            assert_eq!(names(None, &[bad]).domains(), None, "{bad:?}");
            assert_eq!(names(Some(bad), &[]).domains(), None, "{bad:?}");
        }
    }
}
