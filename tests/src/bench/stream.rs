//! A stream at a steady rate, as a camera's: every byte is checked and every piece's time on the way is taken.
//!
//! Both ends are threads of one process, so there is one clock.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::netns::Netns;

/// One piece every 5 ms: 1.2 KiB is 2 Mbit/s, a camera.
const EVERY: Duration = Duration::from_millis(5);
const PIECE: usize = 1200;
const HEADER: usize = 16;
/// Nothing for so long is a broken stream.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server's end.
#[derive(Debug)]
pub struct Source {
    listener: TcpListener,
}

/// A stream that was heard to its end.
#[derive(Debug)]
pub struct Heard {
    latencies: Vec<Duration>,
}

impl Source {
    /// Listens in `namespace`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn listen(namespace: &Netns, address: SocketAddr) -> Result<Self> {
        Ok(Self { listener: namespace.run(|| TcpListener::bind(address))?? })
    }

    /// Opens a connection from `namespace` to `address`, sends for `time`, and hears it to its end.
    ///
    /// # Errors
    /// When the connection fails, or a byte is missing or not the one that was sent.
    pub fn play(&self, namespace: &Netns, address: SocketAddr, time: Duration) -> Result<Heard> {
        let listener = self.listener.try_clone()?;
        let epoch = Instant::now();
        let count = u64::try_from(time.as_micros() / EVERY.as_micros())?;
        let sender =
            thread::spawn(move || -> std::io::Result<()> { send(&listener.accept()?.0, epoch, count) });
        let stream = namespace.run(|| TcpStream::connect(address))??;
        let heard = hear(stream, epoch, count)?;
        sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        Ok(heard)
    }
}

impl Heard {
    /// How many pieces came.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.latencies.len()
    }

    /// The time on the way that `percent` of the pieces did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

fn send(mut stream: &TcpStream, epoch: Instant, count: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let began = Instant::now();
    for i in 0..count {
        let due = began + EVERY * u32::try_from(i).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut piece = content(i);
        let sent_at = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        piece[..HEADER / 2].copy_from_slice(&i.to_be_bytes());
        piece[HEADER / 2..HEADER].copy_from_slice(&sent_at.to_be_bytes());
        stream.write_all(&piece)?;
    }
    Ok(())
}

fn hear(mut stream: TcpStream, epoch: Instant, count: u64) -> Result<Heard> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut latencies = Vec::new();
    let mut piece = [0; PIECE];
    for i in 0..count {
        stream.read_exact(&mut piece).with_context(|| format!("piece {i} of {count} did not come"))?;
        let now = epoch.elapsed();
        let (header, body) = piece.split_at(HEADER);
        let (number, sent_at) = header.split_at(HEADER / 2);
        ensure!(number == i.to_be_bytes(), "piece {i} is another");
        ensure!(body == &content(i)[HEADER..], "piece {i} was altered");
        let sent_at = Duration::from_nanos(u64::from_be_bytes(sent_at.try_into()?));
        latencies.push(now.saturating_sub(sent_at));
    }
    ensure!(stream.read(&mut piece)? == 0, "more came than was sent");
    latencies.sort_unstable();
    Ok(Heard { latencies })
}

/// What piece `number` carries; the header is written over its start.
fn content(number: u64) -> [u8; PIECE] {
    let mut piece = [0; PIECE];
    fastrand::Rng::with_seed(number).fill(&mut piece);
    piece
}
