//! No connection reaches a server without its record: not when the gateway is killed, not when its disk is full, not in
//! a burst.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl::Download,
    process::{PATIENCE, capture},
    product::{Denial, Flow},
    require::can_run,
    site::{self, Egress, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

/// Where [`Arrivals`] listens.
const PORT: u16 = 8000;

/// So many times the gateway is killed; `VMSGATE_TEST_KILLS` says otherwise.
const KILLS: usize = 3;

#[test]
fn every_connection_that_a_server_saw_is_on_record_however_often_the_gateway_is_killed() {
    let Some((mut site, client)) = site("") else { return };
    let kills = std::env::var("VMSGATE_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let arrivals = Arrivals::listen(&site);
    let load = Load::start(&client);
    for kill in 0..kills {
        arrivals.wait_for_more(50);
        site.kill().unwrap();
        // What the server sees after this line cannot come from the gateway.
        let seen = arrivals.seen();
        let flows: Vec<Flow> = site.records("flows", &["--limit", "1000000"]).unwrap();
        match Egress::asked_for().unwrap() {
            Egress::Proxy => {
                let recorded: HashSet<(std::net::IpAddr, Option<u16>)> = flows
                    .iter()
                    .filter_map(|flow| flow.lan_source.as_ref())
                    .map(|source| (source.address, source.port))
                    .collect();
                let missing: Vec<_> =
                    seen.iter().filter(|peer| !recorded.contains(&(peer.ip(), Some(peer.port())))).collect();
                assert!(missing.is_empty(), "kill {kill}: {} of {}: {missing:?}", missing.len(), seen.len());
            }
            // The kernel chooses the port, and does not tell.
            Egress::Tun { .. } => assert!(seen.len() <= flows.len(), "{} of {}", flows.len(), seen.len()),
        }
        capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
        site.run().unwrap();
        capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
    }
    drop(load);
    site.stop().unwrap();
    let flows: Vec<Flow> = site.records("flows", &["--limit", "1000000"]).unwrap();
    assert!(flows.iter().all(|flow| flow.ended.is_some()));
    assert!(
        flows.iter().any(|flow| flow.reason.as_deref() == Some("gateway-crash")),
        "no flow was cut short"
    );
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

#[test]
fn ten_thousand_short_flows_in_a_burst_leave_ten_thousand_openings_and_endings() {
    const THREADS: usize = 32;
    const EACH: usize = 313;
    let Some((mut site, client)) = site("") else { return };
    let arrivals = Arrivals::listen(&site);
    let address = SocketAddr::new(Server::Mgmt.v4().into(), PORT);
    client
        .host
        .namespace
        .run(|| {
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    // A thread that is started inside a namespace is inside it too.
                    scope.spawn(|| {
                        for _ in 0..EACH {
                            TcpStream::connect_timeout(&address, PATIENCE).unwrap();
                        }
                    });
                }
            });
        })
        .unwrap();
    let wanted = THREADS * EACH;
    arrivals.wait_for(wanted);
    site.stop().unwrap();
    let export = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    let count =
        |kind: &str| export.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    assert_eq!((count("flow.opened"), count("flow.closed"), count("audit.gap")), (wanted, wanted, 0));
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

#[test]
fn a_full_disk_refuses_new_flows_spares_live_ones_says_so_and_recovers_by_itself() {
    let Some(mut site) = prepared("") else { return };
    let disk = SmallDisk::under(&site.data());
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let arrivals = Arrivals::listen(&site);
    let live = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    live.wait_for(1_000_000).unwrap();
    let load = Load::start(&client);
    arrivals.wait_for_more(50);

    disk.fill();
    let told = until("not ready", || {
        let (ready, text) = status(&site);
        (!ready && text.contains("no room to write")).then_some(text)
    });
    let seen = arrivals.seen();
    let later = live.progress().bytes + 1_000_000;
    live.wait_for(later).unwrap();
    assert!(connect(&client).is_err(), "a new flow was let in: {told}");

    disk.free();
    until("ready", || status(&site).0.then_some(()));
    until("a new flow", || connect(&client).ok());
    drop(load);
    drop(live);
    site.stop().unwrap();
    let flows: Vec<Flow> = site.records("flows", &["--limit", "1000000"]).unwrap();
    assert!(flows.len() >= seen.len(), "{} flows of {} connections", flows.len(), seen.len());
    let denials: Vec<Denial> = site.records("denials", &["--limit", "1000"]).unwrap();
    assert!(denials.iter().any(|denial| denial.reason == "audit-unavailable"), "{denials:?}");
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

#[test]
fn live_flows_are_cut_when_the_disk_stays_full_for_longer_than_the_grace() {
    let Some(mut site) = prepared("\n[audit]\nfailure-grace = \"2s\"\n") else { return };
    let disk = SmallDisk::under(&site.data());
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let _arrivals = Arrivals::listen(&site);
    let live = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    live.wait_for(1_000_000).unwrap();
    let load = Load::start(&client);
    disk.fill();
    live.finish().unwrap_err();
    drop(load);

    disk.free();
    until("ready", || status(&site).0.then_some(()));
    site.stop().unwrap();
    let flows: Vec<Flow> = site.records("flows", &["--limit", "1000000"]).unwrap();
    assert!(flows.iter().any(|flow| flow.reason.as_deref() == Some("audit-unavailable")), "{flows:?}");
}

#[test]
fn with_on_failure_continue_a_full_disk_stops_nobody_and_the_gap_is_told() {
    let settings = "\n[audit]\non-failure = \"continue\"\nqueue = 1024\n";
    let Some(mut site) = prepared(settings) else { return };
    let disk = SmallDisk::under(&site.data());
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let arrivals = Arrivals::listen(&site);
    disk.fill();
    // More than fits into the queue.
    let load = Load::start(&client);
    arrivals.wait_for_more(1500);
    drop(load);
    disk.free();
    until("the log to work again", || status(&site).0.then_some(()));
    site.stop().unwrap();
    let export = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    assert!(export.contains("\"kind\":\"audit.gap\""), "no gap was told");
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

/// A server that notes who connects and says nothing.
#[derive(Clone, Default)]
struct Arrivals(Arc<(Mutex<Vec<SocketAddr>>, Condvar)>);

impl Arrivals {
    fn listen(site: &Site) -> Self {
        let address = SocketAddr::new(Server::Mgmt.v4().into(), PORT);
        let listener = site.topology.recording.run(|| TcpListener::bind(address)).unwrap().unwrap();
        let arrivals = Self::default();
        let noted = arrivals.clone();
        // Ends with the process: nothing else would wake it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever has already left cannot be named.
                if let Ok(peer) = stream.and_then(|stream| stream.peer_addr()) {
                    noted.0.0.lock().unwrap().push(peer);
                    noted.0.1.notify_all();
                }
            }
        });
        arrivals
    }

    fn wait_for_more(&self, more: usize) {
        let before = self.0.0.lock().unwrap().len();
        self.wait_for(before + more);
    }

    /// So many in all.
    fn wait_for(&self, wanted: usize) {
        let seen = self.0.0.lock().unwrap();
        let (seen, late) =
            self.0.1.wait_timeout_while(seen, 2 * PATIENCE, |seen| seen.len() < wanted).unwrap();
        assert!(!late.timed_out(), "{} of {wanted} connections", seen.len());
    }

    fn seen(&self) -> Vec<SocketAddr> {
        self.0.0.lock().unwrap().clone()
    }
}

/// Connections one after the other, from several threads, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(client: &StockClient) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = SocketAddr::new(Server::Mgmt.v4().into(), PORT);
        let threads = client.host.namespace.run(|| {
            let one = |_| {
                let stop = stop.clone();
                thread::spawn(move || {
                    while !stop.load(Relaxed) {
                        // It may be refused, or the gateway may be gone.
                        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
                    }
                })
            };
            (0..8).map(one).collect()
        });
        Self { threads: threads.unwrap(), stop }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// One connection to [`Arrivals`].
fn connect(client: &StockClient) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(Server::Mgmt.v4().into(), PORT);
    client.host.namespace.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(3))).unwrap()
}

/// A file system of its own, mounted over a data directory with all that is in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under(data: &Path) -> Self {
        let aside = data.with_file_name("aside");
        run(Command::new("cp").arg("-a").arg(data).arg(&aside));
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(data));
        let disk = Self(data.to_owned());
        run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(data));
        disk
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves not one free page.
    fn fill(&self) {
        let mut zeroes = std::io::repeat(0);
        let error = std::io::copy(&mut zeroes, &mut fs::File::create(self.ballast()).unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Whether the gateway is ready, and what it says about itself.
fn status(site: &Site) -> (bool, String) {
    let output = site.vmsgate(&["status"]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
    }
}

fn prepared(more: &str) -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "mount", "umount"]].concat();
    can_run(&programs).then(|| {
        let site = Site::prepare(Family::V4).unwrap();
        site.configure(&format!("\n[service.management-server]\ntcp = [80, {PORT}]\n{more}")).unwrap();
        site
    })
}

fn site(more: &str) -> Option<(Site, StockClient)> {
    prepared(more).map(|mut site| {
        site.run().unwrap();
        let client = site.stock_client("anna-laptop", "smart-client").unwrap();
        (site, client)
    })
}
