//! The first configuration file of a new gateway.

use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use ipnet::IpNet;

/// The gateway's name in a first configuration, unless somebody chooses another.
pub const STARTER_NAME: &str = "gw-1";
/// The tunnel's ranges likewise: rare in home networks, so that few clients' own collide.
pub const STARTER_TUNNEL: [&str; 2] = ["10.99.0.0/16", "fd00:99::/64"];

/// Writes [`starter_config`] to a file that must not exist yet.
///
/// # Errors
/// When the file system refuses.
pub fn write_starter(
    path: &Path,
    name: &str,
    endpoint: &str,
    tunnel: &[IpNet],
    data: &Path,
) -> io::Result<()> {
    let text = starter_config(name, endpoint, tunnel, &std::path::absolute(data)?);
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// The text of a configuration that works as it is and shows, in comments, what to write next.
///
/// The arguments become `[gateway] name`, `endpoint`, `tunnel` and `data`; they are not checked here.
pub fn starter_config(name: &str, endpoint: &str, tunnel: &[IpNet], data: &Path) -> String {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let ranges: Vec<String> = tunnel.iter().map(|range| quote(&range.to_string())).collect();
    let mut text = String::from(
        "# Vmsgate configuration. Every key is explained in docs/configuration.md.\n\
         # After a change, `vmsgate check` says what is wrong with it.\n\n[gateway]\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "name = {}", quote(name));
    let _ = writeln!(text, "listen = \"0.0.0.0:51820\"   # UDP; \"[::]:51820\" takes IPv6 and IPv4");
    let _ = writeln!(text, "endpoint = {}   # written into profiles", quote(endpoint));
    let _ = writeln!(text, "tunnel = [{}]", ranges.join(", "));
    let _ = writeln!(text, "data = {}", quote(&data.to_string_lossy()));
    text.push_str(SERVERS);
    text
}

const SERVERS: &str = r#"
# One [[server]] per machine of the VMS; clients reach nothing else. Use the names that the VMS itself uses.
#
# [[server]]
# name = "mgmt"
# address = "192.168.10.10"
# hostnames = ["mgmt", "mgmt.vms.local"]
# services = ["management-server", "event-server"]
#
# [[server]]
# name = "rec01"
# address = "192.168.10.21"
# services = ["recording-server"]

# The roles smart-client, management-client, web-mobile and integration are built in. One of your own:
#
# [role.playback]
# allow = ["mgmt:management-server", "rec*:recording-server"]
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn starter() -> String {
        let tunnel = ["10.99.0.0/16".parse().unwrap(), "fd00:99::/64".parse().unwrap()];
        starter_config("gw-1", "vpn.example.org:51820", &tunnel, Path::new("/srv/it's \"data\""))
    }

    #[test]
    fn it_loads_and_only_misses_servers() {
        let config = Config::from_str(&starter(), "gateway.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let warnings: Vec<_> = config.warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert_eq!(warnings, ["there is no [[server]]: clients reach nothing"]);
        assert_eq!(config.gateway.data, Path::new("/srv/it's \"data\""));
        assert_eq!(config.gateway.tunnel.len(), 2);
    }

    #[test]
    fn its_commented_examples_load_too() {
        let text = starter();
        let (head, examples) = text.split_once("# [[server]]").unwrap();
        let uncommented: String = examples
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.contains([' ', '['])).unwrap_or(""))
            .filter(|line| line.starts_with('[') || line.split_once(" = ").is_some())
            .map(|line| format!("{line}\n"))
            .collect();
        let text = format!("{head}[[server]]\n{uncommented}");
        let config =
            Config::from_str(&text, "gateway.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(config.warnings, []);
        assert_eq!(config.roles["playback"].permissions.len(), 3);
    }
}
