//! What is wrong with `[gateway]`.

use crate::replaced;

#[test]
fn listen_address_that_cannot_be_used() {
    replaced(
        "\"0.0.0.0:51820\"",
        "\"51820\"",
        &[(
            "error gateway.toml:3: `51820` is not of the form ADDRESS:PORT",
            "write it like `listen = \"0.0.0.0:51820\"`",
        )],
    );
    replaced(
        "\"0.0.0.0:51820\"",
        "[\"192.0.2.1:51820\", \"192.0.2.1:51820\"]",
        &[("error gateway.toml:3: listen address `192.0.2.1:51820` is listed twice", "remove one")],
    );
    replaced(
        "\"0.0.0.0:51820\"",
        "[\"0.0.0.0:51820\", \"192.0.2.1:51820\"]",
        &[(
            "error gateway.toml:3: listen address `192.0.2.1:51820` is part of `0.0.0.0:51820`",
            "remove one of the two",
        )],
    );
    replaced(
        "\"0.0.0.0:51820\"",
        "[\"[::]:51820\", \"192.0.2.1:51820\"]",
        &[(
            "error gateway.toml:3: listen address `192.0.2.1:51820` is part of `[::]:51820`",
            "remove one of the two",
        )],
    );
    replaced(
        "\"0.0.0.0:51820\"",
        "\"0.0.0.0:0\"",
        &[(
            "warning gateway.toml:3: listen address `0.0.0.0:0` has no fixed port",
            "clients cannot know a port that changes at every start: use 51820",
        )],
    );
    replaced(
        "\"0.0.0.0:51820\"",
        "\"10.99.0.1:51820\"",
        &[(
            "error gateway.toml:3: listen address `10.99.0.1:51820` is in tunnel range `10.99.0.0/16`",
            "listen on an address that exists outside the tunnel, or on 0.0.0.0",
        )],
    );
}

#[test]
fn endpoint_that_leads_nowhere() {
    replaced(
        "\"vpn.example.org:51820\"",
        "\"vpn.example.org\"",
        &[(
            "error gateway.toml:4: endpoint `vpn.example.org` is not of the form HOST:PORT",
            "write it like `endpoint = \"vpn.example.org:51820\"`",
        )],
    );
    replaced(
        "\"vpn.example.org:51820\"",
        "\"0.0.0.0:51820\"",
        &[(
            "error gateway.toml:4: endpoint `0.0.0.0:51820` is no address that a client can connect to",
            "write the gateway's public host name or address",
        )],
    );
}

#[test]
fn tunnel_range_that_cannot_be_used() {
    let ranges = "[\"10.99.0.0/16\", \"fd00:99::/64\"]";
    replaced(
        ranges,
        "\"10.99.0.0\"",
        &[(
            "error gateway.toml:5: `10.99.0.0` is not a range in CIDR form",
            "write it like `tunnel = [\"10.99.0.0/16\", \"fd00:99::/64\"]`",
        )],
    );
    replaced(
        ranges,
        "\"10.99.0.1/16\"",
        &[(
            "error gateway.toml:5: tunnel range `10.99.0.1/16` begins inside its own network",
            "write `10.99.0.0/16`",
        )],
    );
    replaced(
        ranges,
        "\"10.99.0.0/31\"",
        &[(
            "error gateway.toml:5: tunnel range `10.99.0.0/31` is too small",
            "use a prefix of /30 or shorter: every client takes one address",
        )],
    );
    replaced(
        ranges,
        "[\"10.99.0.0/16\", \"10.99.5.0/24\"]",
        &[(
            "error gateway.toml:5: tunnel range `10.99.5.0/24` overlaps `10.99.0.0/16`",
            "remove one of the two",
        )],
    );
    replaced(
        ranges,
        "[\"10.99.0.0/16\", \"10.98.0.0/16\"]",
        &[(
            "error gateway.toml:5: tunnel range `10.98.0.0/16` is a second IPv4 range beside `10.99.0.0/16`",
            "use one IPv4 range that is large enough",
        )],
    );
    replaced(
        ranges,
        "\"127.0.0.0/16\"",
        &[(
            "error gateway.toml:5: tunnel range `127.0.0.0/16` has loopback, multicast, link-local or unspecified addresses in it",
            "use a private range such as 10.99.0.0/16 or fd00:99::/64",
        )],
    );
    replaced(
        ranges,
        "\"8.8.0.0/16\"",
        &[(
            "warning gateway.toml:5: tunnel range `8.8.0.0/16` is not private: clients cannot reach its owners on the internet",
            "use a private range such as 10.99.0.0/16 or fd00:99::/64",
        )],
    );
    replaced(
        ranges,
        "[]",
        &[(
            "error gateway.toml:5: `tunnel` in [gateway] is an empty list",
            "write it like `tunnel = [\"10.99.0.0/16\", \"fd00:99::/64\"]`",
        )],
    );
}

#[test]
fn choice_that_does_not_exist() {
    replaced(
        "\n\n",
        "\negress = \"tun\"\ninterface = \"eth0/../../x\"\nworkers = 65\n\n",
        &[
            (
                "error gateway.toml:7: `eth0/../../x` cannot name a network interface",
                "use up to 15 letters, digits, `-` and `_`, such as `vmsgate0`",
            ),
            ("error gateway.toml:8: `workers` in [gateway] is out of range", "it may be 0 to 64"),
        ],
    );
    replaced(
        "\n\n",
        "\negress = \"nat\"\non-denied = \"ignore\"\n\n",
        &[
            ("error gateway.toml:6: unknown egress `nat`", "write `egress = \"proxy\"` or `\"tun\"`"),
            (
                "error gateway.toml:7: unknown value `ignore` of `on-denied`: write `reject` or `drop`",
                "write it like `on-denied = \"reject\"`",
            ),
        ],
    );
}

#[test]
fn contact_that_is_no_line_of_text() {
    for contact in ["\"\"".to_owned(), "\"a\\nb\"".to_owned(), format!("\"{}\"", "x".repeat(101))] {
        replaced(
            "\n[[server]]",
            &format!("contact = {contact}\n[[server]]"),
            &[(
                "error gateway.toml:6: `contact` is not one line of 1 to 100 characters",
                "write whom to call, for example \"VMS operations, +45 12 34 56 78\"",
            )],
        );
    }
}
