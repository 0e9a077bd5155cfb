//! No copies of secrets on the stack.
//!
//! What a function had in its variables stays on the stack when it is over, and travels on from there: a future that is
//! made next is moved to the heap with every byte that it has not written yet.

use std::hint::black_box;

use zeroize::Zeroize;

/// Many times what unsealing a key and a handshake need.
const BYTES: usize = 64 << 10;

/// Does `work`, then overwrites the stack that it used, and whatever was left there before.
pub fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let done = apart(work);
    wipe();
    done
}

/// In a frame of its own, which begins where that of [`wipe`] does.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut below = [0_u8; BYTES];
    below.zeroize();
    black_box(&below);
}
