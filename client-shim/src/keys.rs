//! Keys that change: enrolment, rotation, agreement on pre-shared keys, and the gateway's identities.
//!
//! Every change is: agree with the gateway, store, move the tunnel, and end the old once the gateway was heard under the
//! new. What is in force and what lies on the disk at any moment is such that a shim that dies there finds its way:
//!
//! | died after | `FILE` | beside it | the next start |
//! | --- | --- | --- | --- |
//! | the new key was made | old | `FILE.next` | old; wipes `FILE.next` |
//! | the gateway registered it | old | `FILE.next` | old, which goes on until the new one is heard |
//! | it was stored | new | `FILE.previous` | new; if nothing answers, the old one beside it |
//! | the gateway was heard under it | new | `FILE.previous` | new; wipes `FILE.previous` |
//!
//! - `plan`: what is due (pure);
//! - `keeper`: the task that does it, with `rotate`, `agree` and `identity`;
//! - `store`: the profile's file and what lies beside it;
//! - `enroll`: from an invitation to a profile.

mod agree;
mod enroll;
mod identity;
mod keeper;
mod plan;
mod rotate;
mod store;

use sha2::{Digest, Sha256};
use x25519_dalek::PublicKey;

pub use enroll::{EnrollError, Enrolment, Progress, enroll};
pub(crate) use keeper::{Keeper, KeyState, Rotate};
pub use rotate::{RotateError, Rotated};
pub use store::StoreError;

/// What names a public key towards people, as the administrator's programs show it.
pub fn fingerprint(key: &PublicKey) -> String {
    Sha256::digest(key.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
