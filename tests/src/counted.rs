//! A stream that counts its own bytes: whoever reads it notices one that is lost, doubled or out of place, and how long
//! it had to wait for the next.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{netns::Netns, process::PATIENCE};

/// One number of the stream.
const WORD: usize = 8;
const PULSE: Duration = Duration::from_millis(10);

/// Listens in `namespace` and sends whoever connects `rate` bits a second for as long as they listen.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(namespace: &Netns, address: SocketAddr, rate: u64) -> Result<()> {
    let listener = namespace.run(|| TcpListener::bind(address))??;
    // Both end with the process, or with whoever listens: nothing else would wake them.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || send(stream, rate));
        }
    });
    Ok(())
}

fn send(mut stream: TcpStream, rate: u64) -> io::Result<()> {
    let words = rate / 8 / (WORD as u64) * PULSE.as_millis() as u64 / 1000;
    let (begun, mut next) = (Instant::now(), 0_u64);
    let mut pulse = Vec::new();
    for number in 1.. {
        pulse.clear();
        pulse.extend((next..next + words).flat_map(u64::to_be_bytes));
        stream.write_all(&pulse)?;
        next += words;
        thread::sleep((begun + PULSE * number).saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Somebody who reads such a stream, on a thread of its own.
#[derive(Debug)]
pub struct Listener {
    bytes: Arc<AtomicU64>,
    reader: thread::JoinHandle<Result<Heard>>,
    stop: Arc<AtomicBool>,
}

/// What was read.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// How much.
    pub bytes: u64,
    /// The longest wait for the next byte.
    pub longest_pause: Duration,
}

impl Listener {
    /// Connects from `namespace`.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(namespace: &Netns, address: SocketAddr) -> Result<Self> {
        let stream = namespace.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
        // A stream that stands still is a finding, not a hung test.
        stream.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::<AtomicBool>::default();
        let bytes = Arc::<AtomicU64>::default();
        let (counted, stopped) = (Arc::clone(&bytes), Arc::clone(&stop));
        let reader = thread::spawn(move || read(stream, &counted, &stopped));
        Ok(Self { bytes, reader, stop })
    }

    /// How much it has read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Waits until `more` bytes have come from now on.
    ///
    /// # Errors
    /// When the stream ended or stands still.
    pub fn wait_for_more(&self, more: u64) -> Result<()> {
        let (wanted, deadline) = (self.bytes() + more, Instant::now() + PATIENCE);
        while self.bytes() < wanted {
            ensure!(!self.reader.is_finished(), "the stream ended after {} bytes", self.bytes());
            ensure!(Instant::now() < deadline, "only {} of {wanted} bytes came", self.bytes());
            thread::sleep(PULSE);
        }
        Ok(())
    }

    /// Hangs up.
    ///
    /// # Errors
    /// When the stream was not whole, or had ended before.
    pub fn finish(self) -> Result<Heard> {
        ensure!(!self.reader.is_finished(), "the stream ended after {} bytes", self.bytes());
        // Not by closing the stream: what is on its way would then be answered by a reset.
        self.stop.store(true, Relaxed);
        self.reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
    }
}

fn read(mut stream: TcpStream, counted: &AtomicU64, stop: &AtomicBool) -> Result<Heard> {
    let mut buffer = vec![0; 1 << 16];
    let (mut kept, mut next) = (0, 0_u64);
    let mut heard = Heard { bytes: 0, longest_pause: Duration::ZERO };
    let mut last = Instant::now();
    loop {
        let read =
            stream.read(&mut buffer[kept..]).with_context(|| format!("after {} bytes", heard.bytes))?;
        ensure!(read != 0, "the stream ended after {} bytes", heard.bytes);
        heard.bytes += read as u64;
        heard.longest_pause = heard.longest_pause.max(last.elapsed());
        last = Instant::now();
        let held = kept + read;
        let whole = held - held % WORD;
        for word in buffer[..whole].chunks_exact(WORD) {
            let number = u64::from_be_bytes(word.try_into()?);
            ensure!(number == next, "word {next} of the stream is {number}");
            next += 1;
        }
        buffer.copy_within(whole..held, 0);
        kept = held - whole;
        counted.store(heard.bytes, Relaxed);
        if stop.load(Relaxed) {
            return Ok(heard);
        }
    }
}
