//! What is wrong with plain settings.

use crate::{added, replaced};

#[test]
fn number_out_of_range() {
    replaced(
        "\n\n",
        "\nmtu = 1279\n\n",
        &[("error gateway.toml:6: `mtu` in [gateway] is out of range", "it may be 1280 to 9000")],
    );
    added(
        "[proxy]\nconnect-timeout = \"0s\"\ntotal-memory = \"1MiB\"\nclient-memory = \"1MiB\"\n",
        &[
            ("error gateway.toml:12: `connect-timeout` in [proxy] is out of range", "it may be 1s to 1m"),
            (
                "error gateway.toml:13: `total-memory` in [proxy] is out of range",
                "it may be 16MiB to 1024GiB",
            ),
        ],
    );
    added(
        "[proxy]\nconnect-timeout = \"10\"\ntotal-memory = \"1GB\"\n",
        &[
            (
                "error gateway.toml:12: `connect-timeout` in [proxy] cannot be `10`",
                "write it like `connect-timeout = \"10s\"`",
            ),
            (
                "error gateway.toml:13: `total-memory` in [proxy] cannot be `1GB`",
                "write it like `total-memory = \"1GiB\"`",
            ),
        ],
    );
    added(
        "[limits]\nflows-per-client = 2000\nflows-total = 1000\n",
        &[(
            "error gateway.toml:12: `flows-per-client` is larger than `flows-total`",
            "raise `flows-total` or lower `flows-per-client`",
        )],
    );
    added(
        "[limits]\nnew-flows-per-second = 0\n",
        &[(
            "error gateway.toml:12: `new-flows-per-second` in [limits] is out of range",
            "it may be 1 to 65536",
        )],
    );
    added(
        "[limits]\nbandwidth-down = \"20MB/s\"\nbandwidth-up = \"1kbit/s\"\n",
        &[
            (
                "error gateway.toml:12: `bandwidth-down` in [limits] cannot be `20MB/s`",
                "write it like `bandwidth-down = \"50Mbit/s\"`",
            ),
            (
                "error gateway.toml:13: `bandwidth-up` in [limits] is out of range",
                "it may be 64kbit/s to 10Gbit/s",
            ),
        ],
    );
    added(
        "[role.r]\nallow = [\"*:*\"]\nbandwidth-down = 20\n",
        &[(
            "error gateway.toml:13: `bandwidth-down` in [role.r] cannot be the number 20",
            "write it like `bandwidth-down = \"20Mbit/s\"`",
        )],
    );
    added(
        "[proxy]\nclient-memory = \"2GiB\"\n",
        &[(
            "error gateway.toml:12: `client-memory` is larger than `total-memory`",
            "raise `total-memory` or lower `client-memory`",
        )],
    );
}

#[test]
fn source_pool_that_cannot_be_used() {
    added(
        "[proxy]\nsource-pool = [\"192.168.10.30-192.168.10.20\", \"192.168.10.1-::1\", \"pool\", \"10.0.0.0/33\"]\n",
        &[
            (
                "error gateway.toml:12: range `192.168.10.30-192.168.10.20` is reversed: write `192.168.10.20-192.168.10.30`",
                "write it like `source-pool = [\"192.168.10.200-192.168.10.240\"]`",
            ),
            (
                "error gateway.toml:12: range `192.168.10.1-::1` mixes IPv4 and IPv6",
                "write it like `source-pool = [\"192.168.10.200-192.168.10.240\"]`",
            ),
            (
                "error gateway.toml:12: `pool` is not an IP address",
                "write it like `source-pool = [\"192.168.10.200-192.168.10.240\"]`",
            ),
            (
                "error gateway.toml:12: `10.0.0.0/33` is not a range like 192.168.10.192/26",
                "write it like `source-pool = [\"192.168.10.200-192.168.10.240\"]`",
            ),
        ],
    );
    added(
        "[proxy]\nsource-pool = [\"192.168.10.20-192.168.10.30\", \"192.168.10.30\", \"10.99.0.0/24\"]\n",
        &[
            (
                "error gateway.toml:12: source pool `10.99.0.0-10.99.0.255` overlaps tunnel range `10.99.0.0/16`",
                "the pool holds this host's addresses on the recording network",
            ),
            (
                "error gateway.toml:12: source pool `192.168.10.20-192.168.10.30` has the address `192.168.10.21` of server `rec01`",
                "use addresses that belong to this host alone",
            ),
            (
                "error gateway.toml:12: source pool `192.168.10.30-192.168.10.30` overlaps `192.168.10.20-192.168.10.30`",
                "remove one of the two",
            ),
        ],
    );
    added(
        "[proxy]\nsource-pool = \"fd00:10::/64\"\n",
        &[(
            "error gateway.toml:12: `source-pool` has too many addresses",
            "at most 65536: every one must be this host's own",
        )],
    );
}

#[test]
fn admin_beyond_loopback() {
    added(
        "[admin]\nlisten = \"0.0.0.0:9586\"\n",
        &[(
            "warning gateway.toml:12: `0.0.0.0:9586` is not a loopback address: anyone who reaches it sees the gateway's health",
            "use 127.0.0.1:9586, or make sure that only a management network reaches it",
        )],
    );
}

#[test]
fn receivers_that_cannot_be_shipped_to() {
    added(
        "[[ship]]\nname = \"siem\"\nto = \"kafka://siem:514\"\n[[ship]]\nname = \"b c\"\nto = \"syslog+tls://siem:6514\"\n",
        &[
            (
                "error gateway.toml:13: `kafka` is no way to ship the log",
                "write it like `syslog+tls://siem.example.org:6514`, `syslog+tcp://…`, `syslog+udp://…`, \
                 `otlp+https://collector.example.org:4318/v1/logs` or `otlp+http://…`",
            ),
            (
                "error gateway.toml:15: `b c` cannot name a receiver",
                "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit",
            ),
        ],
    );
    added(
        "[[ship]]\nname = \"a\"\nto = \"syslog+tls://siem:6514\"\nheaders-file = \"x\"\nkinds = [\"Session\"]\n\
         [[ship]]\nname = \"a\"\nto = \"syslog+tls://siem:6514\"\n",
        &[
            (
                "error gateway.toml:14: `headers-file` has no meaning for `syslog+tls`",
                "remove it: only OTLP has headers",
            ),
            (
                "error gateway.toml:15: `Session` is no kind of record",
                "write kinds like `session.closed` or `flow.*`: see docs/audit-format.md",
            ),
            (
                "error gateway.toml:17: there are two receivers named `a`",
                "give each [[ship]] a name of its own: each has its own place in the log",
            ),
        ],
    );
}

#[test]
fn the_log_in_clear_text_is_warned_of_unless_it_stays_on_the_host() {
    added(
        "[[ship]]\nname = \"a\"\nto = \"syslog+udp://siem:514\"\n[[ship]]\nname = \"b\"\nto = \"otlp+http://127.0.0.1:4318\"\n",
        &[(
            "warning gateway.toml:13: the audit log goes to `siem:514` in clear text, with names and addresses of people",
            "use `syslog+tls` or `otlp+https`, or make sure that only a management network carries it",
        )],
    );
}
