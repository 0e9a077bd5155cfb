//! Stands in for a bad internet path: `vmsgate-relay-udp LISTEN GATEWAY [DELAY_MS [LOSS_PERCENT [SEED]]]`.
//!
//! Point a client's endpoint at LISTEN; the relay carries it to GATEWAY. DELAY_MS is added in each direction.

use std::{env, net::UdpSocket, thread, time::Duration};

use anyhow::{Context, Result, bail};
use vmsgate_tests::relay::{Path, Relay};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, gateway, rest @ ..] = arguments.as_slice() else {
        bail!("usage: vmsgate-relay-udp LISTEN GATEWAY [DELAY_MS [LOSS_PERCENT [SEED]]]")
    };
    let number = |i: usize| rest.get(i).map_or(Ok(0.0), |text| text.parse::<f64>());
    let path = Path {
        delay: Duration::from_secs_f64(number(0).context("DELAY_MS is a number")? / 1000.0),
        loss: number(1).context("LOSS_PERCENT is a number")? / 100.0,
        seed: rest.get(2).map_or(Ok(1), |text| text.parse()).context("SEED is a whole number")?,
    };
    let gateway = gateway.parse().context("GATEWAY is ADDRESS:PORT")?;
    let inner = UdpSocket::bind(listen).with_context(|| format!("Failed to listen on {listen}"))?;
    let any = if inner.local_addr()?.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let _relay = Relay::start(inner, gateway, Box::new(move || UdpSocket::bind(any)), path)?;
    loop {
        thread::park();
    }
}
