//! With a source pool each client leaves from a recording-network address of its own, so that the VMS's own log tells
//! people apart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
};

use vmsgate_tests::{
    product::Flow,
    require::can_run,
    site::{self, Egress, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

const EVENT_SERVER: u16 = 22_331;

#[test]
fn each_client_leaves_from_its_own_address_and_keeps_it_after_a_restart() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS].concat()) {
        return;
    }
    let mut site = Site::prepare_with(Family::V4, Egress::Proxy).unwrap();
    let pool: BTreeSet<IpAddr> = (200..204).map(|host| IpAddr::from([192, 168, 10, host])).collect();
    for address in &pool {
        site.topology.gateway.ip(&format!("addr add {address}/24 dev lan")).unwrap();
    }
    site.configure("\n[proxy]\nsource-pool = [\"192.168.10.200-192.168.10.203\"]\n").unwrap();
    site.run().unwrap();
    let clients = ["anna", "ben", "carl"].map(|name| site.stock_client(name, "smart-client").unwrap());

    let first = clients.each_ref().map(|client| leaves_from(&site, client));
    assert_eq!(BTreeSet::from(first).len(), clients.len(), "distinct: {first:?}");
    assert!(first.iter().all(|address| pool.contains(address)), "{first:?}");
    site.stop().unwrap();
    let recorded: Vec<Flow> = site.records("flows", &["--client", "ben"]).unwrap();
    assert_eq!(
        recorded[0].lan_source.as_ref().unwrap().address,
        first[1],
        "the record joins with the VMS's own"
    );

    site.run().unwrap();
    let second = clients.each_ref().map(|client| leaves_from(&site, client));
    assert_eq!(second, first, "stable");
}

/// Connects to the event server and asks it who came.
fn leaves_from(site: &Site, client: &StockClient) -> IpAddr {
    let server = SocketAddr::new(Server::Mgmt.v4().into(), EVENT_SERVER);
    let mut stream = client.host.namespace.run(|| TcpStream::connect(server)).unwrap().unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    site.recording.arrivals().iter().rfind(|arrival| arrival.to == server).unwrap().from.ip()
}
