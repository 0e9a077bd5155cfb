//! What is wrong with services, roles and what they open.

use crate::{BASE, added, whole};

#[test]
fn port_that_does_not_exist() {
    added(
        "[service.door]\ntcp = [0, 65536, \"20-10\", \"x\"]\n",
        &[
            (
                "error gateway.toml:12: port 0 does not exist: ports are 1 to 65535",
                "write it like `tcp = [554, \"8000-8010\"]`",
            ),
            (
                "error gateway.toml:12: `65536` is not a port: ports are 1 to 65535",
                "write it like `tcp = [554, \"8000-8010\"]`",
            ),
            (
                "error gateway.toml:12: port range `20-10` is reversed: write `10-20`",
                "write it like `tcp = [554, \"8000-8010\"]`",
            ),
            (
                "error gateway.toml:12: `x` is not a port: ports are 1 to 65535",
                "write it like `tcp = [554, \"8000-8010\"]`",
            ),
        ],
    );
    added(
        "[service.door]\n",
        &[(
            "error gateway.toml:11: service `door` has no port",
            "add `tcp = [554, \"8000-8010\"]` or `udp = …`",
        )],
    );
}

#[test]
fn rule_that_opens_nothing() {
    added(
        "[role.night]\nallow = [\"rec01\", \"*:recorder\", \"cam*:*\", \"rec01:event-server\"]\n",
        &[
            (
                "error gateway.toml:12: rule `rec01` is not of the form SERVER-PATTERN:SERVICE",
                "write it like `allow = [\"rec*:recording-server\"]`",
            ),
            (
                "error gateway.toml:12: rule `*:recorder` names unknown service `recorder`",
                "did you mean `recording-server`?",
            ),
            (
                "warning gateway.toml:12: rule `cam*:*` matches no server",
                "in a pattern `*` is any text and `?` any one character",
            ),
            (
                "warning gateway.toml:12: rule `rec01:event-server` opens nothing: no server it matches runs the service",
                "add the service to the server's `services`",
            ),
        ],
    );
    added(
        "[role.night]\nallow = \"*:event-server\"\n",
        &[
            (
                "warning gateway.toml:11: role `night` reaches nothing",
                "check `allow` against the names and services of the servers",
            ),
            (
                "warning gateway.toml:12: rule `*:event-server` opens nothing: no server it matches runs the service",
                "add the service to the server's `services`",
            ),
        ],
    );
    added(
        "[role.night]\n",
        &[(
            "error gateway.toml:11: `allow` is missing in [role.night]",
            "add `allow = [\"rec*:recording-server\"]`",
        )],
    );
}

#[test]
fn never_expose_port_without_a_reason() {
    let service = "[service.sql]\ntcp = 1433\n";
    let role = "[role.dba]\nallow = \"rec*:sql\"\n";
    let base = BASE.replace("[\"recording-server\"]", "[\"recording-server\", \"sql\"]");
    whole(
        &format!("{base}{service}{role}"),
        &[(
            "error gateway.toml:14: role `dba`, through service `sql`, opens tcp/1433 (SQL Server) on server `rec01`, which no client may reach: databases belong to the servers alone",
            "take the port out of the service, or add to server `rec01`: expose-anyway = [{ port = \"tcp/1433\", reason = \"…\" }]",
        )],
    );
    let exposed =
        |reason: &str| format!("{base}expose-anyway = [{{ port = \"tcp/1433\", reason = \"{reason}\" }}]\n");
    whole(
        &format!("{}{service}{role}", exposed("")),
        &[(
            "error gateway.toml:11: `reason` in `expose-anyway` is empty",
            "say why clients must reach the port",
        )],
    );
    whole(&format!("{}{service}{role}", exposed("ticket 4711")), &[]);
}

#[test]
fn never_expose_port_through_an_overridden_service() {
    added(
        "[service.recording-server]\ntcp = [7563, \"1-65535\"]\n",
        &[(
            "error gateway.toml:11: service `recording-server`, which built-in roles allow, opens tcp/1433-1434 (SQL Server), tcp/25 (Recorder device alerts), tcp/5432 (Recorder device alerts), 31 more on server `rec01`, which no client may reach: databases belong to the servers alone",
            "take the port out of the service, or add to server `rec01`: expose-anyway = [{ port = \"tcp/1433-1434\", reason = \"…\" }]",
        )],
    );
}

#[test]
fn exception_that_is_none() {
    added(
        "expose-anyway = [{ port = \"tcp/7563\", reason = \"video\" }, { port = \"tcp/1433\" }]\n",
        &[
            ("error gateway.toml:11: `reason` is missing in `expose-anyway`", "add `reason = \"…\"`"),
            (
                "warning gateway.toml:11: `tcp/7563` in `expose-anyway` is not on the never-expose list",
                "remove it: a role that allows the service opens the port already",
            ),
        ],
    );
    added(
        "expose-anyway = [\"tcp/1433\"]\n",
        &[(
            "error gateway.toml:11: `expose-anyway` in [[server]] cannot be `tcp/1433`",
            "write it like `expose-anyway = [{ port = \"tcp/1433\", reason = \"…\" }]`",
        )],
    );
}
