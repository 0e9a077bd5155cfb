//! The temporary keys and addresses of an invitation. All of them follow from its seed, so a token stays short.
//!
//! An invitation's tunnel has addresses of a prefix of its own: none is taken from the site's ranges, and nothing is
//! to be configured. The prefix is a unique local one (RFC 4193) whose global identifier spells `vmsga`.

use std::fmt;
use std::net::Ipv6Addr;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The upper 64 bits of every address of an invitation's tunnel: `fd76:6d73:6761:0::/64`.
const PREFIX: u64 = 0xfd76_6d73_6761_0000;
/// The gateway's own address in the tunnel of an invitation.
pub const GATEWAY_ADDRESS: Ipv6Addr = Ipv6Addr::from_bits((PREFIX as u128) << 64 | 1);

/// The keys that an invitation's tunnel is opened with.
pub struct InvitationKeys {
    pub secret: StaticSecret,
    pub preshared: Zeroizing<[u8; 32]>,
}

impl InvitationKeys {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let kdf = Hkdf::<Sha256>::new(None, seed);
        let derive = |info: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            kdf.expand(info, &mut *key)
                .unwrap_or_else(|_| unreachable!("32 bytes are fewer than HKDF-SHA256 can give"));
            key
        };
        let secret = StaticSecret::from(*derive(b"vmsgate 1\ninvitation: private key"));
        InvitationKeys { secret, preshared: derive(b"vmsgate 1\ninvitation: pre-shared key") }
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::from(&self.secret)
    }

    /// The client's address in the tunnel of this invitation.
    pub fn address(&self) -> Ipv6Addr {
        address_of(&self.public())
    }
}

/// The client's address in the tunnel of the invitation with this public key. Never the gateway's.
pub fn address_of(invitation: &PublicKey) -> Ipv6Addr {
    let digest = Sha256::digest(invitation.as_bytes());
    let interface = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    Ipv6Addr::from_bits(u128::from(PREFIX) << 64 | u128::from(interface.max(2)))
}

impl fmt::Debug for InvitationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationKeys").field("public", self.public().as_bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_keys_and_another_seed_others() {
        let (one, again) = (InvitationKeys::from_seed(&[1; 32]), InvitationKeys::from_seed(&[1; 32]));
        let other = InvitationKeys::from_seed(&[2; 32]);
        assert_eq!(
            (one.public(), &one.preshared, one.address()),
            (again.public(), &again.preshared, again.address())
        );
        assert_ne!(one.public(), other.public());
        assert_ne!(one.preshared, other.preshared);
        assert_ne!(one.address(), other.address());
        assert_ne!(one.secret.as_bytes(), &*one.preshared);
    }

    #[test]
    fn both_ends_are_in_the_prefix_and_differ() {
        assert_eq!(GATEWAY_ADDRESS.to_string(), "fd76:6d73:6761::1");
        let address = InvitationKeys::from_seed(&[1; 32]).address();
        assert_eq!(address.segments()[..4], GATEWAY_ADDRESS.segments()[..4]);
        assert_ne!(address, GATEWAY_ADDRESS);
    }
}
