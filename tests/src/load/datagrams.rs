//! Small datagrams at a steady rate in either direction, and how many of them arrive.
//!
//! One end is a sink in the recording network; the other asks it, over the same path, to count (`send`) or to be the
//! source (`pull`). A datagram's first byte says what it is: `D` is load, everything else is a line of text.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBufForce, SndBufForce},
};
use serde::Serialize;

/// Holds some tenths of a second of small datagrams, so that only the path loses any.
const BUFFER: usize = 16 << 20;
/// How long both ends rest between bursts: waking for every datagram would cost more than the path does.
const REST: Duration = Duration::from_micros(150);
/// The load is over when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(2);
const REPEATS: usize = 3;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Bytes of each datagram.
    pub size: usize,
    /// Datagrams per second.
    pub rate: u32,
    /// How long.
    pub time: Duration,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    sent: u64,
    received: u64,
    loss: f64,
    /// Between the first and the last that arrived.
    seconds: f64,
}

/// Answers one client after the other, without end.
///
/// # Errors
/// When the address is taken.
pub fn serve(address: SocketAddr) -> Result<()> {
    let socket = open(address)?;
    let mut text = [0; 2048];
    loop {
        socket.set_read_timeout(None)?;
        let Ok((length, client)) = socket.recv_from(&mut text) else { continue };
        let line = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
        // A client that is wrong or gone concerns only itself.
        if let Some((order, load)) = parse(&line) {
            let _ = answer(&socket, client, order, load);
        }
    }
}

/// Sends `load` to the sink.
///
/// # Errors
/// When the sink does not answer.
pub fn send(sink: SocketAddr, load: Load) -> Result<Outcome> {
    let socket = connect(sink)?;
    ask(&socket, "push", load)?;
    ensure!(hear(&socket)? == "ready", "the sink is not ready");
    let sent = blast(load, |datagram| socket.send(datagram));
    socket.set_read_timeout(Some(load.time + PATIENCE))?;
    let counted = hear(&socket)?;
    let (received, seconds) = counted.split_once(' ').context("no count")?;
    Ok(outcome(sent, received.parse()?, seconds.parse()?))
}

/// Has the sink send `load` here.
///
/// # Errors
/// When the sink does not answer.
pub fn pull(sink: SocketAddr, load: Load) -> Result<Outcome> {
    let socket = connect(sink)?;
    ask(&socket, "pull", load)?;
    let (received, seconds) = count(&socket, load.time)?;
    Ok(outcome(hear(&socket)?.parse()?, received, seconds))
}

fn open(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("Failed to listen on {address}"))?;
    setsockopt(&socket, RcvBufForce, &BUFFER)?;
    setsockopt(&socket, SndBufForce, &BUFFER)?;
    Ok(socket)
}

fn connect(sink: SocketAddr) -> Result<UdpSocket> {
    let socket = open("0.0.0.0:0".parse()?)?;
    socket.connect(sink)?;
    socket.set_read_timeout(Some(PATIENCE / 4))?;
    // A path may lose its first datagram, while a neighbour is looked up or a socket is opened.
    for _ in 0..8 {
        ask(&socket, "hello", Load { size: 0, rate: 0, time: Duration::ZERO })?;
        if hear(&socket).is_ok() {
            socket.set_read_timeout(Some(PATIENCE))?;
            return Ok(socket);
        }
    }
    bail!("the sink at {sink} does not answer")
}

fn ask(socket: &UdpSocket, order: &str, load: Load) -> io::Result<usize> {
    socket.send(format!("{order} {} {} {}", load.size, load.rate, load.time.as_millis()).as_bytes())
}

fn parse(line: &str) -> Option<(&str, Load)> {
    let mut words = line.split(' ');
    let order = words.next()?;
    let mut number = || words.next()?.parse::<u32>().ok();
    let (size, rate, time) = (number()? as usize, number()?, Duration::from_millis(number()?.into()));
    Some((order, Load { size, rate, time }))
}

fn answer(socket: &UdpSocket, client: SocketAddr, order: &str, load: Load) -> Result<()> {
    let text = match order {
        "hello" => return socket.send_to(b"ready", client).map(drop).context("Failed to answer"),
        "push" => {
            socket.send_to(b"ready", client)?;
            let (received, seconds) = count(socket, load.time)?;
            format!("{received} {seconds}")
        }
        "pull" => {
            let sent = blast(load, |datagram| socket.send_to(datagram, client));
            // The client counts until it has been quiet for a while, and then listens for text.
            thread::sleep(QUIET + QUIET / 2);
            sent.to_string()
        }
        other => bail!("unknown order `{other}`"),
    };
    for _ in 0..REPEATS {
        socket.send_to(text.as_bytes(), client)?;
        thread::sleep(QUIET / 20);
    }
    Ok(())
}

/// The next line of text.
fn hear(socket: &UdpSocket) -> Result<String> {
    let mut text = [0; 2048];
    loop {
        let length = socket.recv(&mut text).context("the sink does not answer")?;
        match text.get(..length) {
            Some([b'D', ..]) | None => {}
            Some(line) => return Ok(String::from_utf8_lossy(line).into_owned()),
        }
    }
}

/// Sends at a steady rate; a sender that falls behind gives the gap up instead of catching up in a burst.
fn blast(load: Load, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> u64 {
    let datagram = vec![b'D'; load.size.max(16)];
    let rate = f64::from(load.rate);
    let burst = (rate * 0.005) as u64 + 64;
    let (began, mut sent, mut due) = (Instant::now(), 0, 0);
    while began.elapsed() < load.time {
        let now = (began.elapsed().as_secs_f64() * rate) as u64;
        for _ in 0..(now - due).min(burst) {
            sent += u64::from(send(&datagram).is_ok());
        }
        due = now;
        thread::sleep(REST);
    }
    sent
}

/// Counts load until it ends, and how long it went on.
fn count(socket: &UdpSocket, time: Duration) -> Result<(u64, f64)> {
    let (mut datagram, mut received, mut span) = ([0; 2048], 0, None);
    let deadline = Instant::now() + time + PATIENCE;
    socket.set_nonblocking(true)?;
    loop {
        let now = Instant::now();
        let quiet = span.is_some_and(|(_, last)| now.duration_since(last) > QUIET);
        if quiet || now > deadline {
            break;
        }
        while socket.recv(&mut datagram).is_ok() {
            if datagram.first() == Some(&b'D') {
                received += 1;
                span = Some((span.map_or(now, |(first, _)| first), now));
            }
        }
        thread::sleep(REST);
    }
    socket.set_nonblocking(false)?;
    Ok((received, span.map_or(0.0, |(first, last)| (last - first).as_secs_f64())))
}

fn outcome(sent: u64, received: u64, seconds: f64) -> Outcome {
    Outcome { sent, received, seconds, loss: 1.0 - received as f64 / sent.max(1) as f64 }
}
