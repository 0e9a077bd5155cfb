//! What a shim and a gateway say to each other about keys: the invitation token, the bodies of the control requests,
//! the agreement on a pre-shared key with ML-KEM-768, and the last notice to a client that is shut out. See
//! docs/decisions/0011-key-lifecycle.md and 0012-refusal-notice.md.

pub mod agreement;
pub mod body;
pub mod invitation;
pub mod refusal;
mod token;

pub use agreement::{Agreed, AgreementError, Binding, Offer, Purpose, answer};
pub use invitation::{GATEWAY_ADDRESS, InvitationKeys};
pub use token::{Token, TokenError};
