//! The configuration file of a test site.

use std::{net::SocketAddr, path::Path};

use super::{ADMIN, Egress};
use crate::topology::{PORT, Server};

/// The site's configuration: the minimal one of the documentation, with both families on every side.
pub(super) fn text(endpoint: SocketAddr, data: &Path, egress: Egress) -> String {
    let mut text = format!(
        "[gateway]
name = \"gw-test\"
listen = \"[::]:{PORT}\"
endpoint = \"{endpoint}\"
tunnel = [\"10.99.0.0/16\", \"fd00:99::/64\"]
data = \"{}\"
{}

[admin]
listen = \"{ADMIN}\"
",
        data.display(),
        egress.configuration()
    );
    for server in Server::ALL {
        let services = match server {
            Server::Mgmt => "\"management-server\", \"event-server\"",
            Server::Rec01 | Server::Rec02 => "\"recording-server\"",
        };
        let (name, v4, v6) = (server.name(), server.v4(), server.v6());
        text += &format!(
            "
[[server]]
name = \"{name}\"
address = [\"{v4}\", \"{v6}\"]
hostnames = [\"{name}.vms.local\"]
services = [{services}]
"
        );
    }
    text
}
