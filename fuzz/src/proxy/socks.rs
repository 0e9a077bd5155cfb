//! SOCKS5: greeting, password, request and datagrams.

#[path = "../../../client-shim/src/proxy/socks/message.rs"]
#[allow(dead_code, reason = "the shim's, of which not all is used here")]
mod message;

use message::{MAX_BYTES, Parsed, credentials, datagram, methods, request};

/// A message has no more bytes than came, a decision is made within the longest, and what is shown is safe to show.
pub(crate) fn messages(input: &[u8]) -> u64 {
    let read =
        bounded(input, methods(input)) + bounded(input, credentials(input)) + bounded(input, request(input));
    let requested = request(input).ok().flatten().map(|(request, _)| request.destination);
    let sent = datagram(input).ok().map(|(destination, payload)| {
        assert!(input.ends_with(payload));
        destination
    });
    for destination in requested.into_iter().chain(sent) {
        let shown = destination.to_string();
        assert!(!shown.chars().any(|c| c.is_control() || !c.is_ascii()), "{shown:?}");
    }
    read
}

fn bounded<T>(input: &[u8], parsed: Parsed<T>) -> u64 {
    match parsed {
        Ok(Some((_, length))) => {
            assert!(length <= input.len().min(MAX_BYTES));
            1
        }
        Ok(None) => {
            assert!(input.len() < MAX_BYTES, "undecided after {} bytes", input.len());
            0
        }
        Err(_) => 0,
    }
}
