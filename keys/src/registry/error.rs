//! Why the registry could not do what it was asked for.

use ipnet::IpNet;
use jiff::Timestamp;
use vmsgate_audit::{DbError, StoreError, text::TextError};

use super::ClientName;
use crate::{material::Fingerprint, seal::UnsealError};

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("cannot write the administrative record")]
    Audit(#[from] StoreError),
    #[error("cannot describe the change for its administrative record")]
    Snapshot(#[from] TextError),
    #[error("the data directory is not initialised")]
    NotInitialised,
    #[error("the data directory is initialised already")]
    AlreadyInitialised,
    #[error("there is no client `{name}`")]
    NoSuchClient { name: String, nearest: Option<String> },
    #[error("there is already a client `{name}`")]
    NameTaken { name: String },
    #[error("key {fingerprint} belongs to client `{owner}` already")]
    KeyTaken { fingerprint: Fingerprint, owner: String },
    #[error("key {0} is the gateway's own")]
    GatewayKey(Fingerprint),
    #[error("client `{name}` is revoked")]
    Revoked { name: String },
    #[error("the invitation of client `{client}` was used at {at}")]
    InvitationUsed { client: String, at: Timestamp },
    #[error("the invitation of client `{client}` ended at {at}")]
    InvitationExpired { client: String, at: Timestamp },
    #[error("there is no such invitation")]
    NoSuchInvitation,
    #[error("gateway identity {0} is retiring: a rotation is under way")]
    RotationUnderWay(Fingerprint),
    #[error("clients seen since {since} still use the retiring identity: {}", first_of(.clients))]
    IdentityInUse { since: Timestamp, clients: Vec<ClientName> },
    #[error("no gateway identity is retiring")]
    NothingToRetire,
    #[error("tunnel range {range} has no address left")]
    RangeExhausted { range: IpNet },
    #[error("{what} cannot be opened")]
    Unseal { what: String, source: UnsealError },
    #[error("{row} of the registry has an unreadable {field}")]
    Malformed { row: String, field: &'static str },
}

impl RegistryError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Database(error) | Self::Audit(StoreError::Database(error)) => error.hint().to_owned(),
            Self::Audit(_) => "nothing was changed; restore vmsgate.db from a backup if it stays like this".to_owned(),
            Self::Snapshot(_) => "use shorter texts".to_owned(),
            Self::NotInitialised => "make it with `vmsgate-keys init --endpoint HOST:PORT`".to_owned(),
            Self::AlreadyInitialised => "nothing was changed; choose another data directory with --data".to_owned(),
            Self::NoSuchClient { nearest: Some(name), .. } => format!("did you mean `{name}`?"),
            Self::NoSuchClient { nearest: None, .. } => "see `vmsgate-keys client list`".to_owned(),
            Self::NameTaken { .. } => {
                "choose another name; names of revoked clients stay taken, so that the audit log stays unambiguous"
                    .to_owned()
            }
            Self::KeyTaken { .. } | Self::GatewayKey(_) => "make a new key pair on the client's device".to_owned(),
            Self::Revoked { .. } => "revocation is final: add the device again under a new name".to_owned(),
            Self::InvitationUsed { .. } | Self::InvitationExpired { .. } | Self::NoSuchInvitation => {
                "make a new invitation with `vmsgate-keys client invite NAME`".to_owned()
            }
            Self::RotationUnderWay(_) => {
                "see who still uses it with `vmsgate-keys gateway status`, and end it with `gateway retire`".to_owned()
            }
            Self::NothingToRetire => "begin a rotation with `vmsgate-keys gateway rotate`".to_owned(),
            Self::IdentityInUse { .. } => {
                "nothing was changed; `vmsgate-keys client rotate NAME` gives a stock client a new profile, --force cuts \
                 them off"
                    .to_owned()
            }
            Self::RangeExhausted { .. } => {
                "widen the tunnel range; addresses are not reused, so that the audit log stays unambiguous".to_owned()
            }
            Self::Unseal { .. } => {
                "check that keystore and vmsgate.db are of the same installation, or restore both from a backup"
                    .to_owned()
            }
            Self::Malformed { .. } => "restore vmsgate.db from a backup; it was edited by something else".to_owned(),
        }
    }

    /// Whether the user can put it right; everything else is a fault.
    pub fn is_users_turn(&self) -> bool {
        !matches!(self, Self::Snapshot(_) | Self::Audit(_))
    }
}

/// The first names of a list that may be long.
fn first_of(clients: &[ClientName]) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = clients.iter().take(SHOWN).map(ClientName::as_str).collect();
    match clients.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
