//! Waiting for the gateway: until it is ready, until it knows a client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{ADMIN, Site};
use crate::process::{PATIENCE, Process, capture};

impl Site {
    /// Waits until the running gateway knows of so many clients. Until then a new one is a stranger to it, and WireGuard
    /// clients try again after five seconds only.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_clients(&self, clients: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.status()?.clients != clients {
            ensure!(Instant::now() < deadline, "the gateway does not know of {clients} clients");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until the running gateway answers with so many identities.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_identities(&self, identities: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.status()?.identities.len() != identities {
            ensure!(Instant::now() < deadline, "the gateway does not have {identities} identities");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Asks until no client uses an identity that is to be retired.
    ///
    /// # Errors
    /// When it takes too long, or the product does not say.
    pub fn wait_until_everybody_moved(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let status = capture(&mut self.keys(&["gateway", "status", "--json"]))?;
            let status: serde_json::Value = serde_json::from_str(&status)?;
            if status["rotation"]["not_moved"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not everybody has moved: {status:#}");
        }
    }

    /// Asks `/readyz` until it agrees. The gateway prints no promise to wait for; being ready is its own answer.
    pub(super) fn wait_until_ready(&self, gateway: &mut Process) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("/readyz");
            if answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            if !gateway.is_running()? {
                bail!("the gateway ended before it was ready; it printed:\n{}", gateway.output());
            }
            if Instant::now() > deadline {
                bail!("the gateway is not ready: {answer:?}; it printed:\n{}", gateway.output());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The gateway's answer, header and body, to a GET on its admin address.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn ask(&self, path: &str) -> Result<String> {
        self.topology.gateway.run(|| {
            let mut stream = TcpStream::connect(ADMIN)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?
    }
}
