//! Mutations for the runner without coverage: repeatable from a seed, and mindful of structure where bytes have some.

use fastrand::Rng;

/// No input grows beyond this; the longest text that a target takes whole is shorter.
const MAX_BYTES: usize = 4096;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x40, 0x10];
/// What has a meaning in one of the formats.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\u0000",
    b"{",
    b"}",
    b"[[",
    b"]",
    b"=",
    b"\n",
    b"\r\n\r\n",
    b"#",
    b",",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"1e308",
    b"null",
    b"\xff\xfe",
    b"\xf0\x9f\x92\xa9",
    b"\xc0\x0c",
    b"%00",
    b"::",
    b"/33",
    b"Transfer-Encoding: chunked\r\n",
    b"[gateway]\n",
];

/// Another input made of `seed` and, sometimes, a part of `other`.
#[must_use]
pub fn mutate(seed: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.usize(..4) {
        step(&mut bytes, other, random);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn step(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    match random.u8(..10) {
        0 => alter(bytes, at, |byte, random| byte ^ (1 << random.u8(..8)), random),
        1 => alter(bytes, at, |_, random| random.u8(..), random),
        2 => alter(bytes, at, |_, random| EDGES[random.usize(..EDGES.len())], random),
        3 => alter(bytes, at, |byte, random| byte.wrapping_add(random.u8(..9)).wrapping_sub(4), random),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..bytes.len().min(at + random.usize(1..32)))),
        6 => {
            let copy = bytes[at..bytes.len().min(at + random.usize(1..64))].to_vec();
            let to = random.usize(..=bytes.len());
            bytes.splice(to..to, copy);
        }
        7 => {
            let from = random.usize(..=other.len());
            let part = other[from..other.len().min(from + random.usize(1..64))].iter().copied();
            bytes.splice(at..at, part);
        }
        8 => drop(bytes.splice(at..at, WORDS[random.usize(..WORDS.len())].iter().copied())),
        _ => {
            bytes.truncate(at);
            bytes.extend(&other[other.len().min(at)..]);
        }
    }
}

fn alter(bytes: &mut [u8], at: usize, new: impl Fn(u8, &mut Rng) -> u8, random: &mut Rng) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = new(*byte, random);
    }
}
