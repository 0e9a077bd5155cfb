//! Why the kernel could not be set up, and what to do about it.

use std::io;

use ipnet::IpNet;
use rustix::io::Errno;
use thiserror::Error;

/// Why [`crate::apply`] failed.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("this process may not configure the network: it needs CAP_NET_ADMIN")]
    MissingCapability,
    #[error("the kernel does not forward packets: {} is 0", .keys.join(" is 0, "))]
    ForwardingOff {
        /// The sysctl keys that would have to be 1.
        keys: Vec<&'static str>,
    },
    #[error("cannot read whether the kernel forwards packets ({key})")]
    ForwardingUnknown { key: &'static str, source: io::Error },
    #[error("there is no network interface `{interface}`")]
    InterfaceMissing { interface: String },
    #[error("the plan has IPv6 ranges, and IPv6 is off on `{interface}`")]
    Ipv6Off { interface: String },
    #[error("`{wanted}` cannot be routed to clients: `{existing}` already leads to {via}")]
    RouteConflict {
        wanted: IpNet,
        /// The same range or a part of it.
        existing: IpNet,
        /// The interface in the way, or words for a route without one.
        via: String,
    },
    #[error("the nftables table `{table}` belongs to another running process (netlink port {port})")]
    TableInUse {
        table: String,
        /// The kernel's name for the owner; mostly its process id.
        port: u32,
    },
    #[error("this kernel cannot masquerade: nftables refuses it")]
    MasqueradeUnsupported { source: io::Error },
    #[error("cannot {operation}")]
    Failed { operation: String, source: io::Error },
}

impl SetupError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::MissingCapability => "container: add `--cap-add NET_ADMIN --device /dev/net/tun`; systemd: \
                 `AmbientCapabilities=CAP_NET_ADMIN`; or set `egress = \"proxy\"`, which needs no rights"
                .to_owned(),
            Self::ForwardingOff { keys } => forwarding_hint(keys),
            Self::ForwardingUnknown { .. } => "mount /proc into the container".to_owned(),
            Self::InterfaceMissing { .. } => {
                "something removed it after the gateway had made it; start the gateway again".to_owned()
            }
            Self::Ipv6Off { interface } => format!(
                "set `net.ipv6.conf.{interface}.disable_ipv6` and `net.ipv6.conf.default.disable_ipv6` to 0 \
                 (container: `--sysctl net.ipv6.conf.default.disable_ipv6=0`), or remove the IPv6 range from \
                 `tunnel`"
            ),
            Self::RouteConflict { existing, .. } => format!(
                "choose a `tunnel` range that is used nowhere else on this network, or remove the other route: \
                 `ip route del {existing}`"
            ),
            Self::TableInUse { .. } => {
                "stop the other gateway, or give this one another `interface`".to_owned()
            }
            Self::MasqueradeUnsupported { .. } => "needs Linux 5.13 with the modules nf_tables, nft_chain_nat and \
                 nft_masq (on the host: `modprobe nft_masq nft_chain_nat`); or set `masquerade = false` and give \
                 the recording network a route to the tunnel ranges"
                .to_owned(),
            Self::Failed { .. } => {
                "see the kernel's log on the host (`dmesg`); `egress = \"proxy\"` does without it".to_owned()
            }
        }
    }

    /// Names what was being done, unless the kernel's answer says more.
    pub(crate) fn at(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| match Errno::from_io_error(&source) {
            Some(Errno::PERM) => Self::MissingCapability,
            _ => Self::Failed { operation, source },
        }
    }
}

fn forwarding_hint(keys: &[&str]) -> String {
    let settings: Vec<_> = keys.iter().map(|key| format!("{key}=1")).collect();
    let options: Vec<_> = settings.iter().map(|setting| format!("--sysctl {setting}")).collect();
    format!("host: `sysctl -w {}`; container: start it with `{}`", settings.join(" "), options.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_settings_are_named_at_once() {
        let error = SetupError::ForwardingOff { keys: vec!["net.a", "net.b"] };
        assert_eq!(error.to_string(), "the kernel does not forward packets: net.a is 0, net.b is 0");
        assert_eq!(
            error.hint(),
            "host: `sysctl -w net.a=1 net.b=1`; container: start it with `--sysctl net.a=1 --sysctl net.b=1`"
        );
    }

    #[test]
    fn a_refusal_for_lack_of_rights_is_told_as_such() {
        let error = SetupError::at("set the MTU")(Errno::PERM.into());
        assert!(matches!(error, SetupError::MissingCapability), "{error:?}");
        let error = SetupError::at("set the MTU")(Errno::NODEV.into());
        assert_eq!(error.to_string(), "cannot set the MTU");
    }
}
