//! How long a restart of the gateway keeps a client from working.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::report::Report,
    manager::ServiceManager,
    netns::Netns,
    process::PATIENCE,
    shim::ShimClient,
    site::Site,
    topology::{Family, Server},
};

/// An attempt that takes longer is given up for a new one: a lost SYN is repeated by the kernel after a second only.
const ATTEMPT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(2);

/// Measures the gap with a stock client and with the shim, with sockets that are opened anew and with kept ones.
///
/// # Errors
/// When something does not start or is not back.
pub fn all(report: &mut Report, repetitions: usize) -> Result<()> {
    let mut site = Site::prepare(Family::V4)?;
    let manager = ServiceManager::start(site.folder())?;
    site.run()?;
    let stock = site.stock_client("anna-laptop", "smart-client")?;
    let shim = ShimClient::up(&site, "bo-laptop", "smart-client")?;
    let web = SocketAddr::new(Server::Mgmt.v4().into(), 80);
    let through_shim = shim.listens_for("mgmt", 80)?;
    for _ in 0..repetitions {
        for (sockets, kept) in [("new sockets", None), ("kept sockets", Some(&manager))] {
            if kept.is_none() {
                manager.forget();
            }
            // The run before has the sockets that this case is about.
            restart(&mut site, kept)?;
            for (path, host, target) in
                [("stock", &stock.host.namespace, web), ("shim", &shim.machine.host.namespace, through_shim)]
            {
                one(report, &mut site, (sockets, kept), (path, host, target))?;
            }
        }
    }
    Ok(())
}

fn one(
    report: &mut Report,
    site: &mut Site,
    (sockets, kept): (&str, Option<&ServiceManager>),
    (path, host, target): (&str, &Netns, SocketAddr),
) -> Result<()> {
    let restarted = AtomicBool::new(false);
    let (tell, begun) = mpsc::channel();
    let (served, times) = thread::scope(|scope| {
        let watched = &restarted;
        let watching = scope.spawn(move || host.run(|| watch(target, watched, tell)));
        // Ends without a word if nothing is served, and the watch says so.
        let _ = begun.recv();
        let times = restart(site, kept);
        restarted.store(true, Ordering::Release);
        let served = watching.join().map_err(|_| anyhow::anyhow!("a thread panicked"))???;
        anyhow::Ok((served, times?))
    })?;
    let gap = served.windows(2).map(|pair| pair[1] - pair[0]).max().context("nothing was served")?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    report.add("clients without service", &format!("{path}, {sockets}"), "ms", ms(gap))?;
    report.add("SIGTERM to the end", sockets, "ms", ms(times.0))?;
    report.add("start to ready", sockets, "ms", ms(times.1))
}

/// How long the end and the start took.
fn restart(site: &mut Site, kept: Option<&ServiceManager>) -> Result<(Duration, Duration)> {
    let asked = Instant::now();
    site.stop()?;
    let ended = Instant::now();
    match kept {
        Some(manager) => site.run_under(manager)?,
        None => site.run()?,
    }
    Ok((ended - asked, ended.elapsed()))
}

/// When requests were answered, from before the restart until after it.
fn watch(target: SocketAddr, restarted: &AtomicBool, begun: Sender<()>) -> Result<Vec<Instant>> {
    let deadline = Instant::now() + PATIENCE;
    let mut served = Vec::new();
    let mut after = 0;
    while after < 10 {
        ensure!(Instant::now() < deadline, "{target} is not served any more");
        let is_over = restarted.load(Ordering::Acquire);
        if ask(target).is_ok() {
            served.push(Instant::now());
            // Only the first is waited for.
            let _ = begun.send(());
            after += usize::from(is_over);
        }
        thread::sleep(PAUSE);
    }
    Ok(served)
}

/// A connection of its own for each request, as a program that reconnects.
fn ask(target: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.write_all(b"HEAD /file HTTP/1.0\r\n\r\n")?;
    stream.read_exact(&mut [0; 12])
}
