//! Keys, the keystore and the registry of a Vmsgate installation.
//!
//! An installation is a data directory:
//!
//! | file | what is in it | who reads it |
//! | --- | --- | --- |
//! | `keystore` | the master key, sealed under a passphrase | the gateway at start; `client add`; `passwd` |
//! | `vmsgate.db` | the registry (this crate) and the audit log (`vmsgate-audit`) | everybody |
//! | `control.sock` | the socket of the running gateway | `vmsgate status` |
//!
//! The database alone reveals no secret: private keys and pre-shared keys in it are sealed under the master key.
//! Private keys of clients are not in it at all; a client's profile is shown once, when it is made.
//!
//! # Reading
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use vmsgate_keys::{DataDir, Keystore, Passphrase, Registry};
//!
//! let data = DataDir::new("/var/lib/vmsgate");
//! let passphrase = Passphrase::from_file("/run/secrets/vmsgate".as_ref())?;
//! let master = Keystore::read(&data.keystore())?.open(&passphrase)?;
//! let registry = Registry::open(&data.database()).await?;
//!
//! let mut known = registry.revision().await?;
//! for client in registry.clients().await? {
//!     for key in &client.keys {
//!         let _preshared = key.preshared_key(&master)?;
//!     }
//! }
//! let changes = registry.changes_since(known).await?; // cheap when there are none: poll it
//! known = changes.revision;
//! # let _ = known; Ok(()) }
//! ```
//!
//! # Changing
//!
//! [`Registry::change`] begins a transaction that holds the write lock; each method of [`Change`] does one thing and
//! writes its `admin.*` record; [`Change::commit`] makes all of it true at once. Dropping it undoes it.
//!
//! This crate knows nothing of tunnels or sockets. SQL is in [`registry`] alone.

mod actor;
mod atomic_file;
mod backup;
#[allow(unreachable_pub, reason = "as in a binary, `pub` means for the other modules of it")]
mod command_line;
mod data_dir;
mod kdf;
mod keystore;
mod material;
mod passphrase;
mod profile;
mod ranges;
pub mod registry;
mod seal;

pub use actor::{Actor, User};
pub use atomic_file::{Existing, write_private};
pub use backup::{Backup, BackupError, Occupant, OpenBackup};
pub use command_line::command_line;
pub use data_dir::{DataDir, InitError, Installation};
pub use keystore::{Keystore, KeystoreError, Problem};
pub use material::{Fingerprint, KeyError, PresharedKey, PrivateKey, PublicKey};
pub use passphrase::{Passphrase, PassphraseError};
pub use profile::Profile;
pub use ranges::{RangeError, TunnelRanges};
pub use registry::{
    Applied, Change, Changes, Client, ClientKey, ClientName, ClientState, Cut, GatewayBeat, Holdings,
    Identity, IdentityState, Invitation, Invitee, NewClient, Operator, Presence, Registry, RegistryError,
    Remark, Revision, Seen, Settings, Standing, Used,
};
pub use seal::{MasterKey, UnsealError};
