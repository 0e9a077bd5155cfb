//! Load for `tests/bench/run`: small datagrams, first handshakes, and the clients to make them with.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Parser, Subcommand};
use vmsgate_tests::{
    load::{clients, datagrams, handshakes},
    raw::Keys,
};

/// Make load for measurements inside the namespaces of tests/bench/run
#[derive(Debug, Parser)]
enum Command {
    /// Count datagrams, or send them, for whoever asks; runs until it is ended
    Sink { address: SocketAddr },
    /// Send datagrams to a sink and print what arrived, as JSON
    Send(Load),
    /// Have a sink send datagrams here and print what arrived, as JSON
    Pull(Load),
    #[command(flatten)]
    Many(Many),
}

#[derive(Debug, Args)]
struct Load {
    sink: SocketAddr,
    /// Bytes of each datagram
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Datagrams per second
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: u64,
}

#[derive(Debug, Subcommand)]
enum Many {
    /// Add clients to a registry and print a private and a pre-shared key for each
    Clients {
        data: PathBuf,
        #[arg(long)]
        passphrase_file: PathBuf,
        #[arg(long)]
        role: String,
        #[arg(long)]
        count: usize,
    },
    /// Make the first handshake of clients and print rate and latency, as JSON
    Handshakes {
        /// As `clients` prints them; `-` stands for no pre-shared key
        clients: PathBuf,
        /// The gateway's public key
        #[arg(long)]
        gateway_key: String,
        #[arg(long)]
        gateway: SocketAddr,
        /// The client with number N has this address plus N
        #[arg(long)]
        sources: Ipv4Addr,
        /// Handshakes in flight
        #[arg(long)]
        window: usize,
        /// How many clients
        #[arg(long)]
        count: usize,
    },
}

#[expect(clippy::print_stdout, reason = "results are the program's output")]
fn main() -> Result<()> {
    let result = match Command::parse() {
        Command::Sink { address } => return datagrams::serve(address),
        Command::Send(load) => serde_json::to_string(&datagrams::send(load.sink, load.load())?)?,
        Command::Pull(load) => serde_json::to_string(&datagrams::pull(load.sink, load.load())?)?,
        Command::Many(Many::Clients { data, passphrase_file, role, count }) => {
            let line = |keys: &Keys| {
                let preshared = keys.preshared.map_or("-".to_owned(), |key| STANDARD.encode(key));
                format!("{} {preshared}", STANDARD.encode(keys.private))
            };
            let clients = clients::register(&data, &passphrase_file, &role, count)?;
            clients.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Command::Many(Many::Handshakes { clients, gateway_key, gateway, sources, window, count }) => {
            let text = fs::read_to_string(&clients)?;
            let gateway_key = key(&gateway_key)?;
            let clients = text.lines().take(count).map(|line| {
                let (private, preshared) = line.split_once(' ').context("a line without two keys")?;
                let preshared = (preshared != "-").then(|| key(preshared)).transpose()?;
                Ok(Keys { private: key(private)?, preshared, gateway: gateway_key, v4: None })
            });
            let clients = clients.collect::<Result<Vec<_>>>()?;
            serde_json::to_string(&handshakes::run(&clients, gateway, sources, window)?)?
        }
    };
    println!("{result}");
    Ok(())
}

impl Load {
    fn load(&self) -> datagrams::Load {
        datagrams::Load { size: self.size, rate: self.rate, time: Duration::from_secs(self.seconds) }
    }
}

fn key(text: &str) -> Result<[u8; 32]> {
    STANDARD.decode(text)?.try_into().ok().context("a key is not 32 bytes")
}
