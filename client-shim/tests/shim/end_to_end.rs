//! The shim against a gateway of real parts over 127.0.0.1: no privileges, no namespaces.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::support::{Server, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use vmsgate_shim::proxy::{Access, Proxy};
use vmsgate_shim::{Event, Forward, Shim};

/// Far longer than anything takes; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn servers(site: &Site) -> Vec<Server> {
    vec![
        site.server("mgmt", "192.168.10.10", 8081..=8082),
        site.server("rec01", "192.168.10.21", 7563..=7563),
        site.server("rec02", "fd00:10::22", 7563..=7563),
    ]
}

pub struct Running<'s> {
    site: &'s Site,
    pub shim: Shim,
    events: mpsc::UnboundedReceiver<Event>,
}

impl<'s> Running<'s> {
    fn start(site: &'s Site, forwards: &[String]) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let forwards = forwards.iter().map(|text| text.parse::<Forward>().unwrap()).collect();
        Self { site, shim: Shim::start(site.profile(), forwards, tell), events }
    }

    /// The same as a proxy on a free port.
    pub fn start_as_proxy(site: &'s Site, access: Access) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let proxy = Proxy::bind((Ipv4Addr::LOCALHOST, 0).into(), access).unwrap();
        Self { site, shim: Shim::start_with_proxy(site.profile(), Vec::new(), proxy, tell), events }
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the shim runs");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the event comes")
    }

    pub async fn ready(&mut self) {
        self.until(|event| *event == Event::SiteChanged).await;
    }

    fn listener(&self, server: &str, port: u16) -> SocketAddr {
        let report = self.shim.report();
        let server = report
            .servers
            .into_iter()
            .find(|known| known.name == self.site.name(server))
            .expect("the server is known");
        let listener = server.listeners.into_iter().find(|listener| listener.listen.port() == port);
        let listener = listener.expect("the port is planned");
        assert_eq!(listener.error, None);
        listener.listen
    }
}

/// Runs a test on one thread, as the shim does; it fails when it takes too long.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(4 * PATIENCE, test).await };
    LocalSet::new().block_on(&runtime, bounded).expect("the test ends in time");
}

/// The server's greeting, which names it.
pub async fn greeting(socket: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        text.push(socket.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

pub async fn greeted(at: SocketAddr) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    greeting(&mut socket).await.unwrap()
}

#[test]
fn every_server_is_reached_on_its_own_address_and_ports() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;

        for (server, port, expected) in [
            ("mgmt", 8081, "192.168.10.10:8081"),
            ("mgmt", 8082, "192.168.10.10:8082"),
            ("rec01", 7563, "192.168.10.21:7563"),
            ("rec02", 7563, "[fd00:10::22]:7563"),
        ] {
            let listen = running.listener(server, port);
            assert!(listen.ip().is_loopback() && listen.port() == port);
            assert_eq!(greeted(listen).await, expected);
        }
        let report = running.shim.report();
        assert!(report.is_connected() && report.round_trip_ms.is_some() && report.bytes_received > 0);
        running.shim.stop().await;
    });
}

#[test]
fn bytes_arrive_intact_and_a_half_close_is_carried() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut sent = vec![0; 8 << 20];
        fastrand::Rng::with_seed(seed).fill(&mut sent);

        let mut socket = TcpStream::connect(running.listener("rec01", 7563)).await.unwrap();
        greeting(&mut socket).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(write, reader.read_to_end(&mut received));

        read.unwrap();
        assert!(received == sent, "{} bytes of {} came back", received.len(), sent.len());
        running.shim.stop().await;
    });
}

#[test]
fn what_the_gateway_refuses_is_reset_and_reported() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let mut running = Running::start(&site, &[format!("{free}={}:1433", site.name("mgmt"))]);
        running.ready().await;

        let mut socket = TcpStream::connect(free).await.unwrap();
        let error = greeting(&mut socket).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let report = running.shim.report();
        let warning = report.forwards[0].warning.as_deref();
        let mgmt = site.name("mgmt");
        let expected = format!("your role does not include port 1433 of {mgmt}; it includes 8081, 8082");
        assert_eq!(warning, Some(expected.as_str()));
        assert_eq!(report.forwards[0].last_failure, report.last_failure);
        assert_eq!(report.last_failure.expect("it is remembered").to, "192.168.10.10:1433");
        running.shim.stop().await;
    });
}

#[test]
fn a_port_that_is_taken_is_reported_and_the_others_work() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let taken_address = taken.local_addr().unwrap();
        let mut running = Running::start(&site, &[format!("{taken_address}={}:8081", site.name("mgmt"))]);
        running.ready().await;

        let report = running.shim.report();
        let error = report.forwards[0].error.as_ref().expect("it does not listen");
        let expected = format!("port {} of 127.0.0.1 is used by another program", taken_address.port());
        assert_eq!(error.message, expected);
        assert_eq!(greeted(running.listener("mgmt", 8081)).await, "192.168.10.10:8081");
        running.shim.stop().await;
    });
}

#[test]
fn a_restarted_gateway_resets_old_connections_and_takes_new_ones() {
    run(async {
        let site = Site::new();
        let gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;
        let listen = running.listener("rec01", 7563);
        let mut old = TcpStream::connect(listen).await.unwrap();
        greeting(&mut old).await.unwrap();

        drop(gateway);
        let _gateway = site.start(&servers(&site));
        let write = async {
            old.write_all(b"still there?").await?;
            old.read_u8().await
        };
        let error = tokio::time::timeout(PATIENCE, write).await.expect("it is told").unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(greeted(listen).await, "192.168.10.21:7563");
        running.shim.stop().await;
    });
}

#[test]
fn a_connection_that_only_listens_is_told_of_a_restart() {
    run(async {
        let site = Site::new();
        let gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;
        let mut listening = TcpStream::connect(running.listener("rec01", 7563)).await.unwrap();
        greeting(&mut listening).await.unwrap();

        drop(gateway);
        let _gateway = site.start(&servers(&site));
        let read = tokio::time::timeout(PATIENCE, listening.read_u8()).await.expect("it is told");

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        running.shim.stop().await;
    });
}

#[test]
fn servers_that_come_and_go_are_applied_while_it_runs() {
    run(async {
        let site = Site::new();
        let gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;
        let (kept, gone) = (running.listener("rec01", 7563), running.listener("mgmt", 8081));

        drop(gateway);
        running.until(|event| matches!(event, Event::NoAnswer { .. })).await;
        let mut changed = servers(&site);
        changed.remove(0);
        changed.push(site.server("rec03", "192.168.10.23", 7563..=7563));
        let _gateway = site.start(&changed);
        running.ready().await;

        assert_eq!(running.listener("rec01", 7563), kept);
        assert_eq!(greeted(running.listener("rec03", 7563)).await, "192.168.10.23:7563");
        let refused = TcpStream::connect(gone).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        running.shim.stop().await;
    });
}

#[test]
fn a_gateway_that_is_not_there_yet_is_waited_for() {
    run(async {
        let site = Site::new();
        let mut running = Running::start(&site, &[]);
        running.until(|event| matches!(event, Event::NoAnswer { .. })).await;
        assert!(!running.shim.report().is_connected());

        let _gateway = site.start(&servers(&site));
        running.ready().await;

        assert!(running.shim.report().is_connected());
        running.shim.stop().await;
    });
}

#[test]
fn stopping_resets_what_is_open() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start(&site, &[]);
        running.ready().await;
        let listen = running.listener("rec01", 7563);
        let mut socket = TcpStream::connect(listen).await.unwrap();
        greeting(&mut socket).await.unwrap();

        running.shim.stop().await;

        assert_eq!(socket.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(TcpStream::connect(listen).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    });
}
