//! What is wrong with the form of a file.

use crate::{BASE, added, replaced, whole};

#[test]
fn text_that_is_not_toml() {
    replaced(
        "name = \"gw-1\"",
        "name = \"gw-1",
        &[(
            "error gateway.toml:2: not valid TOML: invalid basic string, expected `\"`",
            "check the line: text is in quotes, a list in brackets, and every key is written once",
        )],
    );
}

#[test]
fn key_written_twice() {
    replaced(
        "name = \"gw-1\"",
        "name = \"gw-1\"\nname = \"gw-2\"",
        &[(
            "error gateway.toml:3: not valid TOML: duplicate key",
            "check the line: text is in quotes, a list in brackets, and every key is written once",
        )],
    );
}

#[test]
fn unknown_key() {
    replaced(
        "listen",
        "listne",
        &[("error gateway.toml:3: unknown key `listne` in [gateway]", "did you mean `listen`?")],
    );
    added(
        "hostname = \"rec01\"\ncolour = \"red\"\n",
        &[
            ("error gateway.toml:11: unknown key `hostname` in [[server]]", "did you mean `hostnames`?"),
            (
                "error gateway.toml:12: unknown key `colour` in [[server]]",
                "known keys: name, address, hostnames, services, expose-anyway",
            ),
        ],
    );
}

#[test]
fn unknown_section() {
    added(
        "[limit]\nflows-total = 100\n",
        &[("error gateway.toml:11: unknown section `limit`", "did you mean `limits`?")],
    );
    added(
        "[[camera]]\nname = \"door\"\n",
        &[(
            "error gateway.toml:11: unknown section `camera`",
            "known sections: gateway, server, service, role, keys, proxy, limits, audit, ship, admin, dns",
        )],
    );
}

#[test]
fn key_outside_a_section() {
    replaced(
        "[gateway]\n",
        "listen = \"0.0.0.0:51820\"\ncolour = \"red\"\n[gateway]\n",
        &[
            ("error gateway.toml:1: the key `listen` is in no section", "move `listen` below `[gateway]`"),
            (
                "error gateway.toml:2: the key `colour` is in no section",
                "every key belongs below a section such as `[gateway]`",
            ),
        ],
    );
}

#[test]
fn section_in_the_wrong_form() {
    added(
        "[[dns]]\nttl = \"1m\"\n",
        &[(
            "error gateway.toml:11: `dns` is not written as a section",
            "write `[dns]` on a line of its own, then its keys",
        )],
    );
    replaced(
        "[[server]]",
        "[server]",
        &[
            (
                "error gateway.toml:7: `server` is not written as a section",
                "write `[[server]]` on a line of its own, then its keys",
            ),
            (
                "warning gateway.toml: there is no [[server]]: clients reach nothing",
                "add one per machine of the VMS",
            ),
        ],
    );
    added(
        "[role]\nallow = \"*:*\"\n",
        &[(
            "error gateway.toml:12: `role` is not written as a section",
            "write `[role.NAME]` on a line of its own, then its keys",
        )],
    );
}

#[test]
fn missing_keys() {
    replaced(
        "name = \"gw-1\"\n",
        "",
        &[("error gateway.toml:1: `name` is missing in [gateway]", "add `name = \"gw-1\"`")],
    );
    replaced(
        "address = \"192.168.10.21\"\n",
        "",
        &[("error gateway.toml:7: `address` is missing in [[server]]", "add `address = \"192.168.10.21\"`")],
    );
    whole(
        "",
        &[
            ("error gateway.toml: `name` is missing in [gateway]", "add `name = \"gw-1\"` below `[gateway]`"),
            (
                "error gateway.toml: `endpoint` is missing in [gateway]",
                "add `endpoint = \"vpn.example.org:51820\"` below `[gateway]`",
            ),
            (
                "error gateway.toml: `tunnel` is missing in [gateway]",
                "add `tunnel = [\"10.99.0.0/16\", \"fd00:99::/64\"]` below `[gateway]`",
            ),
            (
                "warning gateway.toml: there is no [[server]]: clients reach nothing",
                "add one per machine of the VMS",
            ),
        ],
    );
}

#[test]
fn value_of_the_wrong_type() {
    replaced(
        "\"gw-1\"",
        "7",
        &[(
            "error gateway.toml:2: `name` in [gateway] cannot be the number 7",
            "write it like `name = \"gw-1\"`",
        )],
    );
    replaced(
        "\"192.168.10.21\"",
        "[192.168]",
        &[(
            "error gateway.toml:9: `address` in [[server]] cannot be a number with a fraction",
            "write it like `address = \"192.168.10.21\"`",
        )],
    );
    added(
        "[limits]\nflows-total = \"many\"\n[audit]\nqueue = [1]\n",
        &[
            (
                "error gateway.toml:12: `flows-total` in [limits] cannot be `many`",
                "write it like `flows-total = 65536`",
            ),
            ("error gateway.toml:14: `queue` in [audit] cannot be a list", "write it like `queue = 65536`"),
        ],
    );
}

#[test]
fn name_that_cannot_be_one() {
    replaced(
        "\"gw-1\"",
        "\"gw 1\"",
        &[(
            "error gateway.toml:2: `gw 1` cannot name a gateway",
            "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
        )],
    );
    replaced(
        "\"rec01\"",
        "\"rec:01\"",
        &[(
            "error gateway.toml:8: `rec:01` cannot name a server",
            "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
        )],
    );
    added(
        "[role.\"a b\"]\nallow = \"*:*\"\n",
        &[(
            "error gateway.toml:11: `a b` cannot name a role",
            "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
        )],
    );
}

#[test]
fn several_mistakes_are_reported_together() {
    let text = BASE
        .replace("gw-1", "gw 1")
        .replace("51820\"\nendpoint", "x\"\nendpoint")
        .replace("recording-server", "banana");
    whole(
        &text,
        &[
            (
                "error gateway.toml:2: `gw 1` cannot name a gateway",
                "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
            ),
            (
                "error gateway.toml:3: `0.0.0.0:x` is not of the form ADDRESS:PORT",
                "write it like `listen = \"0.0.0.0:51820\"`",
            ),
            (
                "error gateway.toml:10: server `rec01` has unknown service `banana`",
                "define it with `[service.banana]`, or see the catalogue in docs/configuration.md",
            ),
        ],
    );
}

#[test]
fn messages_do_not_pass_on_control_characters() {
    replaced(
        "\"rec01\"",
        "\"rec\\u001b[31m\\u202e01\"",
        &[(
            "error gateway.toml:8: `rec\\u{1b}[31m\\u{202e}01` cannot name a server",
            "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
        )],
    );
}
