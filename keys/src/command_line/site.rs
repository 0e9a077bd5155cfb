//! What a profile has to say about the gateway: from the configuration, or without one from `init`.

use crate::{Settings, TunnelRanges};
use ipnet::IpNet;
use jiff::Timestamp;
use vmsgate_cli::{CliError, time::TimeArg};
use vmsgate_config::{Config, address::Endpoint, catalogue, nearest};

pub struct Site {
    pub gateway_name: String,
    pub endpoints: Vec<Endpoint>,
    pub ranges: TunnelRanges,
    pub mtu: u16,
    pub dns_suffix: Option<String>,
    config: Option<Config>,
}

/// The tunnel MTU unless a configuration says otherwise: 1500 minus the 80 bytes that IPv6, UDP and WireGuard take.
const DEFAULT_MTU: u16 = 1420;
/// The private address ranges of RFC 1918 and RFC 4193.
const PRIVATE_RANGES: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl Site {
    pub fn new(settings: Settings, config: Option<Config>) -> Result<Self, CliError> {
        let Some(config) = config else {
            return Ok(Self {
                gateway_name: settings.name,
                endpoints: settings.endpoints,
                ranges: settings.tunnel,
                mtu: DEFAULT_MTU,
                dns_suffix: None,
                config: None,
            });
        };
        Ok(Self {
            gateway_name: config.gateway.name.clone(),
            endpoints: config.gateway.endpoints.clone(),
            ranges: TunnelRanges::new(config.gateway.tunnel.iter().copied()).map_err(CliError::user)?,
            mtu: config.gateway.mtu,
            dns_suffix: config.dns.suffix.clone(),
            config: Some(config),
        })
    }

    /// # Errors
    /// For a role that does not exist, with the names of those that do.
    pub fn check_role(&self, role: &str) -> Result<(), CliError> {
        let known: Vec<&str> = match &self.config {
            Some(config) => config.role_names().collect(),
            None => catalogue::BUILT_IN_ROLES.iter().map(|role| role.name).collect(),
        };
        if known.contains(&role) {
            return Ok(());
        }
        let list = known.join(", ");
        Err(CliError::user(format!("there is no role `{role}`")).hint(
            match nearest(role, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? The roles are: {list}"),
                None => format!("the roles are: {list}"),
            },
        ))
    }

    /// When a client of this role ends that is added now: as said, or as the configuration says for the role.
    pub fn expiry(
        &self,
        role: &str,
        said: Option<TimeArg>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, CliError> {
        let default = self.config.as_ref().and_then(|config| config.roles.get(role)?.expires);
        let expires = said.or(default.map(TimeArg::Distance)).map(|when| when.after(now));
        if expires.is_some_and(|expires| expires <= now) {
            return Err(CliError::user("the time given with --expires is in the past")
                .hint("give a later one, such as 90d"));
        }
        Ok(expires)
    }

    /// What a client of this role sends into the tunnel beside packets to the gateway itself, and what the user
    /// should know about it.
    pub fn reachable(&self, role: &str) -> (Vec<IpNet>, Option<String>) {
        let Some(config) = &self.config else {
            let private = PRIVATE_RANGES.iter().filter_map(|range| range.parse().ok());
            let warning = "without a configuration the profile sends all private addresses into the tunnel; \
                           name the configuration with -c FILE to narrow it to the servers of the role";
            return (self.ranges.iter().copied().chain(private).collect(), Some(warning.to_owned()));
        };
        let addresses = config.roles.get(role).map(|role| role.addresses()).unwrap_or_default();
        let warning =
            addresses.is_empty().then(|| format!("role `{role}` reaches no server of the configuration"));
        (addresses.into_iter().map(IpNet::from).collect(), warning)
    }
}
