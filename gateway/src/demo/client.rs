//! The Smart Client's part: what a person at a remote PC would do, through the shim.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vmsgate_cli::{CliError, OrFail};
use vmsgate_keys::Actor;
use vmsgate_shim::{Event, Forward, Profile, Shim};

use super::steps::Steps;
use super::{CLIENT, Site, vms};

/// How long the stream plays before the client is revoked.
const PLAY: Duration = Duration::from_secs(5);
/// What the product promises for a revocation.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);
/// After so long without a byte the stream counts as cut.
const SILENCE: Duration = Duration::from_millis(1500);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

pub async fn play(steps: &Steps<'_>, site: &Site, profile: Profile) -> Result<(), CliError> {
    let sql = free_address().await?;
    let forward = format!("{sql}=mgmt:{}", vms::SQL_PORT).parse::<Forward>().map_err(CliError::unexpected)?;
    let (tell, mut events) = mpsc::unbounded_channel();
    let began = Instant::now();
    let shim = Shim::start(profile, vec![forward], tell);
    let ready = tokio::time::timeout(CONNECT_WITHIN, connected(&mut events)).await;
    ready.map_err(|_| CliError::user("the shim did not connect within 10 s"))??;
    steps.connected(began.elapsed(), &shim.report())?;

    page(steps, listener(&shim, "mgmt", vms::WEB_PORT)?).await?;
    refused(steps, site, sql).await?;
    stream(steps, site, listener(&shim, "rec01", vms::VIDEO_PORT)?).await?;
    shim.stop().await;
    Ok(())
}

async fn connected(events: &mut mpsc::UnboundedReceiver<Event>) -> Result<(), CliError> {
    loop {
        match events.recv().await {
            Some(Event::SiteChanged) => return Ok(()),
            Some(Event::SiteUnknown { reason }) => return Err(CliError::user(reason)),
            Some(_) => {}
            None => return Err(CliError::unexpected("the shim ended unexpectedly")),
        }
    }
}

/// Where the shim listens for a port of a server.
fn listener(shim: &Shim, server: &str, port: u16) -> Result<SocketAddr, CliError> {
    let report = shim.report();
    let listeners =
        report.servers.iter().filter(|known| known.name == server).flat_map(|known| &known.listeners);
    let found =
        listeners.filter(|listener| listener.error.is_none()).find(|listener| listener.listen.port() == port);
    let missing = || CliError::user(format!("the shim does not listen for port {port} of {server}"));
    found.map(|listener| listener.listen).ok_or_else(missing)
}

async fn page(steps: &Steps<'_>, at: SocketAddr) -> Result<(), CliError> {
    let began = Instant::now();
    let mut page = String::new();
    let fetch = async {
        let mut socket = TcpStream::connect(at).await?;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: mgmt\r\nConnection: close\r\n\r\n").await?;
        socket.read_to_string(&mut page).await
    };
    fetch.await.or_user("the management page was not fetched")?;
    let title =
        page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map(|(title, _)| title);
    match title {
        Some(title) if title == vms::TITLE => steps.page(title, began.elapsed()),
        _ => Err(CliError::user("the management page is not the one that was served")),
    }
}

/// The database is open on the recording network; the gateway must refuse it at once.
async fn refused(steps: &Steps<'_>, site: &Site, at: SocketAddr) -> Result<(), CliError> {
    let began = Instant::now();
    let attempt = async {
        let mut socket = TcpStream::connect(at).await?;
        socket.read(&mut [0; 64]).await
    };
    let outcome = tokio::time::timeout(Duration::from_secs(5), attempt).await;
    match outcome {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            steps.refused(began.elapsed(), &site.config)
        }
        Ok(Ok(_)) => Err(CliError::user("the database port was reached")),
        Ok(Err(error)) => {
            Err(CliError::user(error).context("the database port was not refused with a reset"))
        }
        Err(_) => Err(CliError::user("the database port was not refused at once")),
    }
}

/// Plays the stream, revokes the client in the middle, and measures how long bytes still come.
async fn stream(steps: &Steps<'_>, site: &Site, at: SocketAddr) -> Result<(), CliError> {
    let mut socket = TcpStream::connect(at).await.or_user("the stream did not start")?;
    let began = Instant::now();
    let bar = steps.stream_bar(PLAY);
    let (mut received, mut last) = (0u64, began);
    let mut revoked: Option<Instant> = None;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::time::timeout(SILENCE, socket.read(&mut buffer)).await;
        let length = match read {
            Ok(Ok(length)) if length > 0 => length,
            // The end, a reset or silence: only right after the revocation.
            _ if revoked.is_some() => break,
            _ => return Err(CliError::user("the stream broke off")),
        };
        if let Some(wrong) =
            buffer[..length].iter().zip(received..).position(|(byte, at)| *byte != vms::pattern(at))
        {
            return Err(CliError::user(format!("byte {} of the stream is wrong", received + wrong as u64)));
        }
        received += length as u64;
        last = Instant::now();
        bar.set_position(began.elapsed().min(PLAY).as_millis() as u64);
        if revoked.is_none() && began.elapsed() >= PLAY {
            bar.finish();
            steps.played(received, began.elapsed())?;
            revoked = Some(Instant::now());
            revoke(site).await?;
        }
        if revoked.is_some_and(|at| at.elapsed() > REVOKED_WITHIN) {
            return Err(CliError::user("bytes still came 2 s after the revocation"));
        }
    }
    steps.revoked(revoked.map(|at| last.saturating_duration_since(at)).unwrap_or_default())
}

async fn revoke(site: &Site) -> Result<(), CliError> {
    let actor = Actor::current();
    let mut change = site.installation.registry.change(&actor).await.map_err(CliError::unexpected)?;
    let reason = "end of the demonstration".parse().ok();
    change.revoke(CLIENT, reason).await.map_err(CliError::unexpected)?;
    change.commit().await.map_err(CliError::unexpected)
}

/// An address for the forward to the database.
async fn free_address() -> Result<SocketAddr, CliError> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    listener.and_then(|listener| listener.local_addr()).or_user("cannot listen on 127.0.0.1")
}
