//! TCP at full speed: a server in the recording network and a client that drives any number of flows against it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::netns::Netns;

const PIECE: usize = 128 << 10;

/// Which way the bytes go, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the server, as video does.
    Down,
    /// To the server.
    Up,
}

/// The server: sends without end to a client that says `d`, and takes everything from one that says `u`.
#[derive(Debug)]
pub struct Server {
    received: Arc<AtomicU64>,
}

impl Server {
    /// Listens in `namespace` until the process ends.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(namespace: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = namespace.run(|| TcpListener::bind(address))??;
        let received = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&received);
        thread::Builder::new().name("blast".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // A client that has measured enough just leaves.
                thread::spawn(move || serve(stream, &counter));
            }
        })?;
        Ok(Self { received })
    }
}

/// Running flows. Dropping it ends them.
#[derive(Debug)]
pub struct Flows {
    direction: Direction,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    uploaded: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flows {
    /// Opens `count` flows from `namespace` to `server`, which is reached at `address` there, and lets them run.
    ///
    /// # Errors
    /// When a connection fails.
    pub fn start(
        namespace: &Netns,
        address: SocketAddr,
        server: &Server,
        count: usize,
        direction: Direction,
    ) -> Result<Self> {
        let mut flows = Self {
            direction,
            stop: Arc::default(),
            received: Arc::default(),
            uploaded: Arc::clone(&server.received),
            threads: Vec::new(),
        };
        for _ in 0..count {
            let stream = namespace.run(|| TcpStream::connect(address))??;
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            stream.set_write_timeout(Some(Duration::from_millis(200)))?;
            let (stop, received) = (Arc::clone(&flows.stop), Arc::clone(&flows.received));
            flows.threads.push(thread::spawn(move || drive(stream, direction, &stop, &received)));
        }
        Ok(flows)
    }

    /// Bytes that have arrived at their destination so far; only differences mean something.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        match self.direction {
            Direction::Down => self.received.load(Ordering::Relaxed),
            Direction::Up => self.uploaded.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, received: &AtomicU64) -> io::Result<()> {
    let mut order = [0];
    stream.read_exact(&mut order)?;
    let mut piece = vec![0; PIECE];
    loop {
        if order == *b"d" {
            stream.write_all(&piece)?;
        } else {
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                length => received.fetch_add(length as u64, Ordering::Relaxed),
            };
        }
    }
}

fn drive(mut stream: TcpStream, direction: Direction, stop: &AtomicBool, received: &AtomicU64) {
    let order: &[u8] = if direction == Direction::Down { b"d" } else { b"u" };
    let mut piece = vec![0; PIECE];
    let mut step = |stream: &mut TcpStream| match direction {
        Direction::Down => {
            let length = stream.read(&mut piece)?;
            received.fetch_add(length as u64, Ordering::Relaxed);
            Ok(length)
        }
        Direction::Up => stream.write(&piece),
    };
    let mut result = stream.write_all(order).map(|()| 1);
    while !stop.load(Ordering::Relaxed) {
        match result {
            Ok(0) => break,
            Err(ref error)
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                break;
            }
            Ok(_) | Err(_) => result = step(&mut stream),
        }
    }
}
