//! One function per parser that meets foreign bytes. Each takes any bytes at all; it panics where something that must
//! always hold does not, and says how much of the input was taken for good: a target that refuses everything tests nothing.
//!
//! `tests/corpus.rs` replays the committed corpora and mutates them, in every run of the tests: docs/security-testing.md.
//!
//! The parsers of the gateway's control services and of the shim's proxy are private to their programs. Their files are
//! taken in by path, below modules of the same names.

mod control;
#[path = "../../gateway/src/http.rs"]
#[allow(dead_code, unreachable_pub, reason = "the gateway's, of which not all is used here")]
mod http;
mod inner;
pub mod mutate;
mod outside;
mod proxy;
mod text;
pub mod wire;
mod world;

/// A name, which is also that of the corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]) -> u64);

/// Every target.
pub const TARGETS: [Target; 12] = [
    ("datagram", outside::datagrams),
    ("inner", inner::packets),
    ("dns", control::dns_message),
    ("dns-tcp", control::dns_stream),
    ("http", control::http_stream),
    ("socks", proxy::socks::messages),
    ("config", text::config),
    ("keystore", text::keystore),
    ("token", text::token),
    ("record", text::record),
    ("profile", text::profile),
    ("refusal", text::refusal),
];
