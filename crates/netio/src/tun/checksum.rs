//! The internet checksum (RFC 1071), over many bytes at once.
//!
//! Three facts make it fast. The one's complement sum of 16-bit words may be taken over wider words and folded at the
//! end. It may be taken in the machine's byte order, if the result is stored in that order too. And 32-bit halves
//! added up in 64-bit lanes need no carry for four billion rounds, so that the lanes are independent and the compiler
//! puts them into vector registers.

/// Bytes per round: eight lanes, which is one AVX-512, two AVX2 or four SSE2 registers.
const ROUND: usize = 64;

/// A sum in progress, in the machine's byte order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes that begin at an even offset of what is summed.
    #[must_use]
    pub fn plus(self, bytes: &[u8]) -> Self {
        let (rounds, rest) = bytes.as_chunks::<ROUND>();
        let sum = if rounds.is_empty() { 0 } else { add_rounds(rounds) };
        self.join(sum).join(add_rest(rest))
    }

    /// Adds one 16-bit word in network byte order.
    #[must_use]
    pub const fn plus_u16(self, word: u16) -> Self {
        self.join(u16::from_ne_bytes(word.to_be_bytes()) as u64)
    }

    /// The sum itself, as the checksum field holds it while the sum of the pseudo header waits for the rest.
    pub const fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        (sum as u16).to_ne_bytes()
    }

    /// What a checksum field holds: the complement of the sum.
    pub const fn complement(self) -> [u8; 2] {
        let [a, b] = self.folded();
        [!a, !b]
    }

    /// End-around carry: in one's complement, what overflows comes back in at the bottom.
    const fn join(self, other: u64) -> Self {
        let (sum, carry) = self.0.overflowing_add(other);
        Self(sum + carry as u64)
    }
}

#[cfg(target_arch = "x86_64")]
fn add_rounds(rounds: &[[u8; ROUND]]) -> u64 {
    #[target_feature(enable = "avx2")]
    fn wide(rounds: &[[u8; ROUND]]) -> u64 {
        add_lanes(rounds)
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that `wide` asks for.
        #[expect(unsafe_code, reason = "the compiler's own vector code, chosen at run time")]
        unsafe {
            wide(rounds)
        }
    } else {
        add_lanes(rounds)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn add_rounds(rounds: &[[u8; ROUND]]) -> u64 {
    add_lanes(rounds)
}

#[inline(always)]
fn add_lanes(rounds: &[[u8; ROUND]]) -> u64 {
    let mut lanes = [0u64; ROUND / 8];
    for round in rounds {
        for (lane, word) in lanes.iter_mut().zip(round.as_chunks::<8>().0) {
            let word = u64::from_ne_bytes(*word);
            *lane += (word & 0xffff_ffff) + (word >> 32);
        }
    }
    lanes.iter().fold(Sum(0), |sum, lane| sum.join(*lane)).0
}

fn add_rest(rest: &[u8]) -> u64 {
    let (words, rest) = rest.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum + u64::from(u32::from_ne_bytes(last))
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;
    use crate::tun::reference::simple_checksum;

    #[test]
    fn any_length_and_any_split_at_an_even_offset_sum_as_rfc_1071_says() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for len in (0..300).chain([1420, 65_535]) {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            let expected = simple_checksum(&bytes).to_be_bytes();
            assert_eq!(Sum::new().plus(&bytes).complement(), expected, "{len} bytes");
            let (first, second) = bytes.split_at(random.usize(0..=len / 2) * 2);
            assert_eq!(Sum::new().plus(first).plus(second).complement(), expected, "{len} bytes in two");
        }
    }

    #[test]
    fn sums_that_carry_over_and_over_are_right() {
        let ones = vec![0xff; 65_535];
        assert_eq!(Sum::new().plus(&ones).complement(), simple_checksum(&ones).to_be_bytes());
        assert_eq!(Sum(u64::MAX).plus(&[0xff; 64]).folded(), [0xff, 0xff]);
    }

    /// `cargo test --release -p vmsgate-netio speed -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement, not a claim"]
    fn speed() {
        let bytes = vec![0xa5u8; 1420];
        for (name, sum) in [
            ("lanes", (|b| Sum::new().plus(b).complement()) as fn(&[u8]) -> [u8; 2]),
            ("simple", |b| simple_checksum(b).to_be_bytes()),
        ] {
            let (rounds, start) = (1_000_000, Instant::now());
            for _ in 0..rounds {
                black_box(sum(black_box(&bytes)));
            }
            println!("{name}: {:.1} GB/s", (rounds * bytes.len()) as f64 / start.elapsed().as_nanos() as f64);
        }
    }
}
