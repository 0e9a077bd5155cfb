//! What a TCP connection carries, told by its first bytes: TLS, or clear text.
//!
//! A TLS connection begins with a record from the client that holds a ClientHello (RFC 8446 sections 4 and 5.1), so
//! six bytes tell: content type 22, major version 3, any minor version, a length of 1 to 2^14 + 256, handshake type 1.
//! Anything else is clear text, and so is a server that speaks before it has these bytes.
//!
//! Three facts make the answer hold for what the *server* gets, not only for what passed here:
//!
//! 1. Bytes are judged by their sequence number, counted from the number that the server acknowledged with its SYN.
//! 2. Whatever is sent again for one of the six places must be the byte that was there before.
//! 3. The answer is final once the server has acknowledged all six: then these are the bytes that it received.
//!
//! On a connection that must be TLS at most five bytes pass undecided, each as a TLS record would have it. Bytes from
//! further on are held back: their sender repeats them. From the sixth byte on nothing is looked into: this tells an
//! honest client that is set up wrongly, not clear text that somebody wraps to look like TLS.

use super::Direction;
use crate::packet::TcpFlags;

/// The bytes that tell.
const OPENING: usize = 6;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The longest record: 2^14 bytes and what encryption may add (RFC 8446 section 5.2).
const MAX_RECORD: u16 = (1 << 14) + 256;

/// What a TCP connection was seen to carry first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FirstBytes {
    Tls,
    Plain,
    Nothing,
}

/// What the watch says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing against it so far.
    Fitting,
    /// It has bytes that come after some not seen yet.
    TooFarOn,
    ClearText,
}

/// One segment, or a train of segments of the server's.
pub(super) struct Segment<'a> {
    pub(super) flags: TcpFlags,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) payload: &'a [u8],
}

/// Watches the beginning of a connection.
#[derive(Debug, Default)]
pub(super) struct TlsWatch {
    /// The sequence number of each side's first byte.
    client_start: Option<u32>,
    server_start: Option<u32>,
    opening: [u8; OPENING],
    /// How much of `opening` has been seen.
    len: usize,
    /// Bytes were seen, but not the first.
    middle_seen: bool,
    settled: Option<FirstBytes>,
}

impl TlsWatch {
    /// Whether there is nothing left to look at.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// What was seen so far; a beginning too short to be told from clear text is clear text.
    pub(super) fn first_bytes(&self) -> FirstBytes {
        self.settled.unwrap_or(match self.len {
            0 if !self.middle_seen => FirstBytes::Nothing,
            OPENING => FirstBytes::Tls,
            _ => FirstBytes::Plain,
        })
    }

    /// The sequence number after the bytes judged so far, if there are any.
    pub(super) fn judged_up_to(&self) -> Option<u32> {
        self.client_start.filter(|_| self.len > 0).map(|start| start.wrapping_add(self.len as u32))
    }

    pub(super) fn look(&mut self, direction: Direction, segment: &Segment<'_>) -> Sight {
        let sight = match direction {
            Direction::Up => self.look_at_client(segment),
            Direction::Down => self.look_at_server(segment),
        };
        if sight == Sight::ClearText {
            self.settled = Some(FirstBytes::Plain);
        }
        sight
    }

    fn look_at_client(&mut self, segment: &Segment<'_>) -> Sight {
        let first = segment.sequence.wrapping_add(segment.flags.syn.into());
        if segment.flags.syn && self.server_start.is_none() {
            self.client_start = Some(first);
        }
        // What a RST carries is for people, not for the other end's program (RFC 9293 section 3.5.2).
        if segment.payload.is_empty() || segment.flags.rst {
            return Sight::Fitting;
        }
        let Some(start) = self.client_start else { return self.too_far_on() };
        let offset = first.wrapping_sub(start) as i32;
        // A keep-alive probe repeats the number before the next byte, some with a byte of nonsense in it.
        let before = if offset < 0 { offset.unsigned_abs() as usize } else { 0 };
        let Some(payload) = segment.payload.get(before..) else { return Sight::Fitting };
        let from = usize::try_from(offset).unwrap_or(0);
        if from > self.len && self.len < OPENING {
            return if payload.is_empty() { Sight::Fitting } else { self.too_far_on() };
        }
        for (place, &byte) in (from..OPENING).zip(payload) {
            let differs = place < self.len && self.opening.get(place) != Some(&byte);
            if differs || !self.fits(place, byte) {
                return Sight::ClearText;
            }
            if place == self.len {
                self.opening[place] = byte;
                self.len += 1;
            }
        }
        Sight::Fitting
    }

    fn look_at_server(&mut self, segment: &Segment<'_>) -> Sight {
        let Segment { flags, sequence, acknowledgement, payload } = segment;
        let first = sequence.wrapping_add(flags.syn.into());
        if flags.syn && flags.ack && self.server_start.is_none() {
            self.server_start = Some(first);
            if self.len == 0 {
                self.client_start = Some(*acknowledgement);
            }
        }
        let has_all =
            |end: u32| flags.ack && self.len == OPENING && acknowledgement.wrapping_sub(end) as i32 >= 0;
        if self.judged_up_to().is_some_and(has_all) {
            self.settled = Some(FirstBytes::Tls);
            return Sight::Fitting;
        }
        let end = first.wrapping_add(payload.len() as u32);
        let is_new = self.server_start.is_none_or(|start| end.wrapping_sub(start) as i32 > 0);
        if is_new && !payload.is_empty() && !flags.rst { Sight::ClearText } else { Sight::Fitting }
    }

    fn too_far_on(&mut self) -> Sight {
        self.middle_seen = true;
        Sight::TooFarOn
    }

    /// Whether a record with a ClientHello may have `byte` in this place, after what was seen.
    fn fits(&self, place: usize, byte: u8) -> bool {
        match place {
            0 => byte == HANDSHAKE,
            1 => byte == 3,
            2 => true,
            3 => u16::from_be_bytes([byte, 0]) <= MAX_RECORD,
            4 => (1..=MAX_RECORD).contains(&u16::from_be_bytes([self.opening[3], byte])),
            _ => byte == CLIENT_HELLO,
        }
    }
}

#[cfg(test)]
mod tests;
