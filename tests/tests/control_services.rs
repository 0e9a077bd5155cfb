//! Inside the tunnel the gateway answers for itself: names of the servers that the role may reach, and the profile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
};

use vmsgate_tests::{
    process::{PATIENCE, capture},
    require::can_run,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

const NO_SUCH_NAME: u8 = 3;

#[test]
fn the_names_of_the_roles_servers_resolve_over_udp_and_tcp_and_no_others_do() {
    let Some((_site, client)) = site_with_client() else { return };
    for name in ["mgmt", "MGMT.vms.local", "rec01.vms.local", "rec02"] {
        let server =
            Server::ALL.into_iter().find(|server| name.to_lowercase().starts_with(server.name())).unwrap();
        for answer in [over_udp(&client, name), over_tcp(&client, name)] {
            assert_eq!(answer[3] & 0x0f, 0, "{name}: {answer:?}");
            // The address stands at the end of the only answer.
            assert!(answer.windows(4).any(|bytes| bytes == server.v4().octets()), "{name}: {answer:?}");
        }
    }
    for name in ["example.org", "localhost", "gw-test", "rec03"] {
        for answer in [over_udp(&client, name), over_tcp(&client, name)] {
            assert_eq!(answer[3] & 0x0f, NO_SUCH_NAME, "{name}: {answer:?}");
        }
    }
}

#[test]
fn the_profile_names_the_client_and_what_its_role_may_reach() {
    let Some((_site, client)) = site_with_client() else { return };
    for gateway in ["10.99.0.1", "[fd00:99::1]"] {
        let mut curl = client.command("curl");
        let curl =
            curl.args(["-sS", "--fail", "--noproxy", "*", "-g", &format!("http://{gateway}/v1/profile")]);
        let profile: serde_json::Value = serde_json::from_str(&capture(curl).unwrap()).unwrap();
        assert_eq!(profile["client"], "anna-laptop");
        assert_eq!(profile["role"], "smart-client");
        let servers: Vec<_> =
            profile["servers"].as_array().unwrap().iter().map(|server| &server["name"]).collect();
        assert_eq!(servers, ["mgmt", "rec01", "rec02"]);
    }
}

fn over_udp(client: &StockClient, name: &str) -> Vec<u8> {
    let socket = client.host.namespace.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query(name), (Ipv4Addr::new(10, 99, 0, 1), 53)).unwrap();
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

fn over_tcp(client: &StockClient, name: &str) -> Vec<u8> {
    let mut stream = client.host.namespace.run(|| TcpStream::connect("10.99.0.1:53")).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let query = query(name);
    stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// A DNS query for the IPv4 address of a name.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x75, 0x63, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

fn site_with_client() -> Option<(Site, StockClient)> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| {
        let site = Site::start(Family::V4).unwrap();
        let client = site.stock_client("anna-laptop", "smart-client").unwrap();
        (site, client)
    })
}
