//! What is wrong with a `[[server]]`.

use crate::{BASE, added, replaced, whole};

#[test]
fn file_without_a_server() {
    let (gateway, _) = BASE.split_once("[[server]]").unwrap();
    whole(
        gateway,
        &[(
            "warning gateway.toml: there is no [[server]]: clients reach nothing",
            "add one per machine of the VMS",
        )],
    );
}

#[test]
fn address_that_no_server_has() {
    replaced(
        "192.168.10.21",
        "0.0.0.0",
        &[(
            "error gateway.toml:9: address `0.0.0.0` of server `rec01` is unspecified",
            "write the server's own address on the recording network",
        )],
    );
    replaced(
        "192.168.10.21",
        "255.255.255.255",
        &[(
            "error gateway.toml:9: address `255.255.255.255` of server `rec01` is the broadcast address",
            "write the server's own address on the recording network",
        )],
    );
    replaced(
        "192.168.10.21",
        "224.0.0.1",
        &[(
            "error gateway.toml:9: address `224.0.0.1` of server `rec01` is a multicast address",
            "write the server's own address on the recording network",
        )],
    );
    replaced(
        "192.168.10.21",
        "fe80::1",
        &[(
            "error gateway.toml:9: address `fe80::1` of server `rec01` is link-local and means nothing without an interface",
            "write the server's own address on the recording network",
        )],
    );
    replaced(
        "192.168.10.21",
        "::ffff:10.0.0.1",
        &[(
            "error gateway.toml:9: address `::ffff:10.0.0.1` of server `rec01` is an IPv4 address written as IPv6",
            "write the server's own address on the recording network",
        )],
    );
    replaced(
        "192.168.10.21",
        "rec",
        &[(
            "error gateway.toml:9: `rec` is not an IP address",
            "write it like `address = \"192.168.10.21\"`",
        )],
    );
    replaced(
        "192.168.10.21",
        "127.0.0.1",
        &[(
            "warning gateway.toml:9: address `127.0.0.1` of server `rec01` is the gateway host itself",
            "services of the gateway host should not be reachable for clients",
        )],
    );
    replaced(
        "192.168.10.21",
        "10.99.1.1",
        &[(
            "error gateway.toml:9: address `10.99.1.1` of server `rec01` is in tunnel range `10.99.0.0/16`",
            "tunnel ranges hold clients only: correct the address, or choose another range",
        )],
    );
}

#[test]
fn two_servers_that_are_the_same() {
    added(
        "[[server]]\nname = \"rec01\"\naddress = \"192.168.10.22\"\nservices = [\"recording-server\"]\n",
        &[(
            "error gateway.toml:12: there are two servers named `rec01`",
            "give each [[server]] a name of its own, or merge the two",
        )],
    );
    added(
        "[[server]]\nname = \"rec02\"\naddress = \"192.168.10.21\"\nservices = [\"recording-server\"]\n",
        &[(
            "error gateway.toml:13: servers `rec01` and `rec02` have the same address `192.168.10.21`",
            "one machine is one [[server]]: list the services of both under it",
        )],
    );
    let same_host_name = "hostnames = \"REC01\"\nservices = [\"recording-server\"]\n";
    added(
        &format!("[[server]]\nname = \"rec02\"\naddress = \"192.168.10.22\"\n{same_host_name}"),
        &[(
            "error gateway.toml:14: servers `rec01` and `rec02` have the same host name `rec01`",
            "a name leads to one server: remove one",
        )],
    );
    replaced(
        "\"192.168.10.21\"",
        "[\"192.168.10.21\", \"192.168.10.21\"]",
        &[("error gateway.toml:9: address `192.168.10.21` of server `rec01` is listed twice", "remove one")],
    );
}

#[test]
fn host_name_that_is_none() {
    added(
        "hostnames = [\"rec 01\", \"192.168.10.21\"]\n",
        &[
            (
                "error gateway.toml:11: `rec 01` is not a host name",
                "host names have letters, digits, `-` and `_`, in parts separated by dots",
            ),
            (
                "error gateway.toml:11: `192.168.10.21` is not a host name",
                "host names have letters, digits, `-` and `_`, in parts separated by dots",
            ),
        ],
    );
    added(
        "[dns]\nsuffix = \"vms..local\"\n",
        &[("error gateway.toml:12: `vms..local` is not a domain name", "write it like `vms.local`")],
    );
}

#[test]
fn service_that_a_server_cannot_run() {
    replaced(
        "recording-server",
        "recorder-server",
        &[(
            "error gateway.toml:10: server `rec01` has unknown service `recorder-server`",
            "did you mean `recording-server`?",
        )],
    );
    replaced(
        "recording-server",
        "banana",
        &[(
            "error gateway.toml:10: server `rec01` has unknown service `banana`",
            "define it with `[service.banana]`, or see the catalogue in docs/configuration.md",
        )],
    );
    replaced(
        "services = [\"recording-server\"]\n",
        "",
        &[(
            "warning gateway.toml:7: server `rec01` has no service: no client reaches it",
            "add `services = [\"recording-server\"]` or the like",
        )],
    );
    replaced(
        "\"recording-server\"",
        "\"recording-server\", \"recording-server\"",
        &[("warning gateway.toml:10: server `rec01` has service `recording-server` twice", "remove one")],
    );
    replaced(
        "recording-server",
        "open-network-bridge",
        &[(
            "warning gateway.toml:10: service `open-network-bridge` of server `rec01` is not encrypted beyond the gateway",
            "the tunnel protects it as far as the gateway; trust the network from there on, or use another service",
        )],
    );
}
