//! The process that keeps the routes, as this one speaks with it: a line of JSON each.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Helper;
use crate::tun::wish::{Outcome, Wish};

#[derive(Debug)]
pub(in crate::tun) struct Routes {
    outcomes: Lines<BufReader<OwnedReadHalf>>,
    wishes: OwnedWriteHalf,
    /// Dropped last: it waits for the process, which ends once the socket is closed.
    _helper: Helper,
}

impl Routes {
    pub(super) fn new(mut helper: Helper) -> io::Result<Self> {
        let socket = helper.take_socket().ok_or(io::ErrorKind::NotConnected)?;
        let (read, wishes) = UnixStream::from_std(socket)?.into_split();
        Ok(Self { outcomes: BufReader::new(read).lines(), wishes, _helper: helper })
    }

    pub(in crate::tun) async fn ask(&mut self, wish: &Wish) -> io::Result<()> {
        let mut line = serde_json::to_vec(wish)?;
        line.push(b'\n');
        self.wishes.write_all(&line).await
    }

    /// The next outcome; none when the process is gone, or is not understood.
    pub(in crate::tun) async fn outcome(&mut self) -> Option<Outcome> {
        let line = self.outcomes.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }
}
