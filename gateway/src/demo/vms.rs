//! A simulated VMS on loopback: a management server with a page and a database port, and a recording server that
//! sends a steady stream.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use vmsgate_cli::{CliError, OrFail, WithHint};

pub const MANAGEMENT: Ipv4Addr = Ipv4Addr::new(127, 77, 10, 10);
pub const RECORDER: Ipv4Addr = Ipv4Addr::new(127, 77, 10, 21);
/// Unprivileged, unlike a real management server's 80 and 443.
pub const WEB_PORT: u16 = 18_080;
pub const VIDEO_PORT: u16 = 7563;
/// Open, and nobody may reach it.
pub const SQL_PORT: u16 = 1433;
/// 1080p at 30 frames per second in a busy scene.
pub const VIDEO_BITS_PER_SECOND: u64 = 8_000_000;
pub const TITLE: &str = "Simulated VMS";

/// One frame's time.
const TICK: Duration = Duration::from_millis(33);
const FRAME: usize = (VIDEO_BITS_PER_SECOND as usize / 8) * 33 / 1000;

/// The running servers; they end when this is dropped.
pub struct Vms {
    servers: Vec<JoinHandle<()>>,
}

impl Vms {
    pub async fn start() -> Result<Vms, CliError> {
        let web = listen(MANAGEMENT, WEB_PORT).await?;
        let sql = listen(MANAGEMENT, SQL_PORT).await?;
        let video = listen(RECORDER, VIDEO_PORT).await?;
        let servers = vec![
            tokio::spawn(serve(web, |socket| async { drop(page(socket).await) })),
            tokio::spawn(serve(sql, |socket| async { drop(greet(socket).await) })),
            tokio::spawn(serve(video, |socket| async { drop(stream(socket).await) })),
        ];
        Ok(Vms { servers })
    }
}

impl Drop for Vms {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// The byte at a place of the stream, so that the far end can tell a lost or altered one.
pub fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

async fn listen(address: Ipv4Addr, port: u16) -> Result<TcpListener, CliError> {
    let listener = TcpListener::bind((address, port)).await;
    let listener = listener.or_user(format!("the simulated server cannot listen on {address}:{port}"));
    listener.hint("end the program that uses this port on all addresses, and start the demonstration again")
}

async fn serve<F: Future<Output = ()> + Send + 'static>(listener: TcpListener, answer: fn(TcpStream) -> F) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket));
    }
}

async fn page(mut socket: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    if socket.read(&mut request).await? == 0 {
        return Ok(());
    }
    let body = format!("<html><head><title>{TITLE}</title></head><body>Management Server</body></html>\n");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}

async fn greet(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(b"the database, open to whoever gets here\n").await
}

async fn stream(mut socket: TcpStream) -> std::io::Result<()> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut at = 0u64;
    loop {
        tick.tick().await;
        let frame: Vec<u8> = (at..at + FRAME as u64).map(pattern).collect();
        socket.write_all(&frame).await?;
        at += FRAME as u64;
    }
}
