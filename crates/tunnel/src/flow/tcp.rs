//! The state of a TCP connection as a bystander sees it (RFC 9293 figure 5, both ends at once).

use super::{CloseReason, Direction};
use crate::packet::TcpFlags;

/// One side's progress.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    syn: bool,
    /// Sequence number after this side's FIN, once sent.
    fin: Option<u32>,
    fin_acknowledged: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TcpState {
    up: Side,
    down: Side,
    reset: bool,
    /// What the client expects next from the server: the only sequence number at which it accepts a RST (RFC 5961).
    client_expects: Option<u32>,
    /// The same for the server.
    server_expects: Option<u32>,
}

impl TcpState {
    pub(super) fn follow(
        &mut self,
        direction: Direction,
        flags: TcpFlags,
        (sequence, acknowledgement): (u32, u32),
        payload_len: u32,
    ) {
        let (sender, receiver) = match direction {
            Direction::Up => (&mut self.up, &mut self.down),
            Direction::Down => (&mut self.down, &mut self.up),
        };
        self.reset |= flags.rst;
        if flags.ack {
            match direction {
                Direction::Up => self.client_expects = Some(acknowledgement),
                Direction::Down => self.server_expects = Some(acknowledgement),
            }
        }
        sender.syn |= flags.syn;
        if flags.fin {
            sender.fin = sender.fin.or(Some(sequence.wrapping_add(payload_len).wrapping_add(1)));
        }
        if flags.ack
            && let Some(fin) = receiver.fin
        {
            receiver.fin_acknowledged |= acknowledgement.wrapping_sub(fin) as i32 >= 0;
        }
    }

    pub(super) fn client_expects(&self) -> Option<u32> {
        self.client_expects
    }

    pub(super) fn server_expects(&self) -> Option<u32> {
        self.server_expects
    }

    /// The server has not acknowledged everything that passed, up to this number.
    pub(super) fn server_will_expect(&mut self, sequence: u32) {
        self.server_expects = Some(sequence);
    }

    pub(super) fn is_established(&self) -> bool {
        self.up.syn && self.down.syn && self.up.fin.is_none() && self.down.fin.is_none()
    }

    pub(super) fn over(&self) -> Option<CloseReason> {
        if self.reset {
            return Some(CloseReason::Reset);
        }
        (self.up.fin_acknowledged && self.down.fin_acknowledged).then_some(CloseReason::Finished)
    }
}
