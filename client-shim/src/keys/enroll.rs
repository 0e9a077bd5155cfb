//! From an invitation to a profile. The private key is made here, and stored before the gateway is asked: whenever this
//! dies, it is run again with the same invitation, and the gateway knows the key.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rand_core::OsRng;
use serde::Serialize;
use thiserror::Error;
use vmsgate_cli::human;
use vmsgate_exchange::body::{Enrolled, NewKey, SCHEMA_VERSION, code};
use vmsgate_exchange::{AgreementError, Binding, GATEWAY_ADDRESS, InvitationKeys, Offer, Purpose, Token};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::fingerprint;
use crate::control::{Control, ControlError};
use crate::files;
use crate::memory::{self, Memory, Told};
use crate::profile::{Profile, WriteError, decode_secret, encode_secret, gateway_key, to_conf};
use crate::tunnel::{Link, Tunnel};

/// What every path carries over IPv6; more is not needed.
const MTU: u16 = 1280;
/// For the first answer: four handshakes.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Attempts to be heard by a gateway that cannot write just now, or whose answer is lost.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Where an enrolment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Connecting,
    Asking,
    /// The gateway cannot do it now; it is asked again.
    Waiting,
    Storing,
}

/// An enrolment that came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enrolment {
    pub client: String,
    pub operator: String,
    pub role: String,
    /// When the client's access ends.
    pub expires: Option<String>,
    pub gateway: String,
    /// The new profile.
    pub file: PathBuf,
    /// Of the client's public key.
    pub fingerprint: String,
    pub gateway_fingerprint: String,
}

/// Why there is no profile.
#[derive(Debug, Error)]
pub enum EnrollError {
    #[error("the invitation expired at {}", human::time(*.0))]
    Expired(Timestamp),
    #[error("the gateway says that the invitation has expired: {0}")]
    ExpiredThere(String),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} is not what an enrolment leaves", .0.display())]
    NotPending(PathBuf),
    #[error("the gateway at {endpoint} does not answer{}", trouble.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    NoAnswer { endpoint: String, trouble: Option<String> },
    #[error("the invitation was used already: {0}")]
    Used(String),
    #[error("the gateway cannot enrol anybody now: {0}")]
    Unavailable(String),
    #[error(transparent)]
    Control(ControlError),
    #[error("the gateway's answer is of no use: {0}")]
    Agreement(#[from] AgreementError),
    #[error(transparent)]
    Answer(#[from] WriteError),
}

impl EnrollError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Expired(_) => "ask your administrator for a new one; or is this machine's clock wrong?".to_owned(),
            Self::ExpiredThere(_) => "ask your administrator for a new one".to_owned(),
            Self::Exists(_) => "an enrolment overwrites nothing: name another file with --out".to_owned(),
            Self::Unwritable { .. } => "name a file in a folder of yours with --out".to_owned(),
            Self::NotPending(path) => format!("move {} away, or name another file with --out", path.display()),
            Self::NoAnswer { trouble: Some(_), .. } => "is this machine online?".to_owned(),
            Self::NoAnswer { trouble: None, .. } => {
                "a gateway is silent to invitations that it does not know: withdrawn, replaced by a newer one, or long \
                 expired. If it is none of these, does this network let UDP out? Nothing is lost: try again from \
                 another network, with the same invitation"
                    .to_owned()
            }
            Self::Used(_) => {
                "TELL YOUR ADMINISTRATOR NOW: if it was not you on another device, somebody else has your access. They \
                 can end it with `vmsgate-keys client revoke`, and invite you again"
                    .to_owned()
            }
            Self::Unavailable(_) | Self::Control(_) | Self::Agreement(_) => {
                "nothing is lost: run it again with the same invitation".to_owned()
            }
            Self::Answer(_) => "is vmsgate-shim of the version that your administrator uses?".to_owned(),
        }
    }

    fn of_gateway(error: ControlError) -> Self {
        match error {
            ControlError::Refused { code, message, .. } if code == code::INVITATION_USED => {
                Self::Used(message)
            }
            ControlError::Refused { code, message, .. } if code == code::INVITATION_EXPIRED => {
                Self::ExpiredThere(message)
            }
            ControlError::Refused { code, message, .. } if code == code::UNAVAILABLE => {
                Self::Unavailable(message)
            }
            other => Self::Control(other),
        }
    }

    /// Whether the same question may have another answer in a moment.
    fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Control(
                    ControlError::Dial(..)
                        | ControlError::TimedOut
                        | ControlError::Http(_)
                        | ControlError::Body
                )
        )
    }
}

/// Turns an invitation into a profile at `file`. Must run on a [`tokio::task::LocalSet`].
///
/// # Errors
/// The first thing that stands in the way. What was begun is gone on with by the next attempt.
pub async fn enroll(
    token: &Token,
    file: &Path,
    progress: impl Fn(Progress),
) -> Result<Enrolment, EnrollError> {
    let end = i64::try_from(token.expires).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    if let Some(end) = end.filter(|end| *end <= Timestamp::now()) {
        return Err(EnrollError::Expired(end));
    }
    if file.symlink_metadata().is_ok() {
        return Err(EnrollError::Exists(file.to_owned()));
    }
    let invitation = token.keys();
    let pending = files::beside(file, "enrolling");
    let secret = pending_key(&pending, &invitation)?;

    progress(Progress::Connecting);
    let profile = invitation_profile(token, &invitation);
    let mut tunnel = Tunnel::open(&profile, Vec::new(), profile.keys(), None);
    connect(&tunnel, token).await?;
    let control = Control::new(tunnel.connections.clone(), profile.gateway_addresses);
    let (enrolled, preshared) = ask(&control, token, &invitation, &secret, &progress).await?;
    tunnel.close().await;

    progress(Progress::Storing);
    let text = to_conf(&enrolled, &secret, &preshared, Timestamp::now())?;
    files::create(file, &text).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => EnrollError::Exists(file.to_owned()),
        _ => EnrollError::Unwritable { path: file.to_owned(), source },
    })?;
    remember(&enrolled, file);
    if let Err(error) = files::wipe(&pending) {
        tracing::warn!(%error, file = %pending.display(), "cannot remove it; it holds your private key");
    }
    Ok(Enrolment {
        fingerprint: fingerprint(&PublicKey::from(&secret)),
        gateway_fingerprint: fingerprint(&gateway_key(&enrolled)?),
        client: enrolled.client,
        operator: enrolled.operator,
        role: enrolled.role,
        expires: enrolled.expires,
        gateway: enrolled.gateway_name,
        file: file.to_owned(),
    })
}

/// Notes what the profile has no place for.
fn remember(enrolled: &Enrolled, file: &Path) {
    let Ok(profile) = Profile::read(file) else { return };
    let endpoints = memory::others(&profile.endpoint, &enrolled.endpoints);
    let expires = enrolled.expires.as_ref().and_then(|text| text.parse().ok());
    Memory::of(&profile).note(Told { endpoints, expires, ..Told::default() });
}

async fn connect(tunnel: &Tunnel, token: &Token) -> Result<(), EnrollError> {
    let mut link = tunnel.link.clone();
    let connected = tokio::time::timeout(CONNECT_LIMIT, link.wait_for(Link::is_connected)).await;
    match connected {
        Ok(Ok(_)) => Ok(()),
        _ => {
            let trouble = tunnel.link.borrow().trouble.clone();
            Err(EnrollError::NoAnswer { endpoint: token.endpoint.to_string(), trouble })
        }
    }
}

/// Asks until the gateway answers for good. An answer that is lost costs nothing: it answers the same key again.
async fn ask(
    control: &Control,
    token: &Token,
    invitation: &InvitationKeys,
    secret: &StaticSecret,
    progress: impl Fn(Progress),
) -> Result<(Enrolled, Zeroizing<[u8; 32]>), EnrollError> {
    let public = PublicKey::from(secret);
    let mut attempt = 1;
    loop {
        progress(Progress::Asking);
        let offer = Offer::new();
        let body = NewKey {
            schema_version: SCHEMA_VERSION,
            public_key: STANDARD.encode(public.as_bytes()),
            encapsulation_key: offer.encapsulation_key(),
        };
        let error = match control.post::<Enrolled>("/v1/enroll", &body).await.map_err(EnrollError::of_gateway)
        {
            Ok(enrolled) => {
                let binding = Binding {
                    purpose: Purpose::Enrolment,
                    carrier: &invitation.preshared,
                    client: public.as_bytes(),
                    gateway: token.gateway.as_bytes(),
                };
                let preshared = offer.accept(&enrolled.ciphertext, &binding)?;
                return Ok((enrolled, preshared));
            }
            Err(error) => error,
        };
        if !error.is_passing() || attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        progress(Progress::Waiting);
        tokio::time::sleep(PAUSE).await;
    }
}

/// What opens the invitation's tunnel.
fn invitation_profile(token: &Token, keys: &InvitationKeys) -> Profile {
    Profile {
        file: None,
        name: token.client.clone(),
        secret: keys.secret.clone(),
        gateway: token.gateway,
        preshared: Some(keys.preshared.clone()),
        addresses: vec![keys.address().into()],
        gateway_addresses: vec![GATEWAY_ADDRESS.into()],
        endpoint: token.endpoint.clone(),
        mtu: MTU,
        persistent_keepalive: None,
    }
}

/// The private key that an earlier attempt with this invitation has made and stored, or a new one, stored now.
fn pending_key(path: &Path, invitation: &InvitationKeys) -> Result<StaticSecret, EnrollError> {
    let unwritable = |source| EnrollError::Unwritable { path: path.to_owned(), source };
    let invitation = STANDARD.encode(invitation.public().as_bytes());
    if let Some(text) = files::read(path).map_err(unwritable)? {
        let (of, secret) = parse_pending(&text).ok_or_else(|| EnrollError::NotPending(path.to_owned()))?;
        if of == invitation {
            return Ok(secret);
        }
    }
    let secret = StaticSecret::random_from_rng(OsRng);
    let encoded = encode_secret(&secret).map_err(unwritable)?;
    let mut text = Zeroizing::new(String::with_capacity(512 + encoded.len()));
    text.push_str(
        "# The private key of an enrolment that is not finished. Run `vmsgate-shim enroll` again with\n",
    );
    text.push_str("# the same invitation; this file is removed then.\nInvitation = ");
    for part in [&invitation, "\nPrivateKey = ", &encoded, "\n"] {
        text.push_str(part);
    }
    files::replace(path, &text, None).map_err(unwritable)?;
    Ok(secret)
}

/// The public key of the invitation, and the private key that was made for it.
fn parse_pending(text: &str) -> Option<(String, StaticSecret)> {
    let value = |name: &str| {
        let values = text.lines().filter_map(|line| line.split_once(" = "));
        values.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    let secret = decode_secret(value("PrivateKey")?).ok()?;
    Some((value("Invitation")?.to_owned(), StaticSecret::from(*secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seed: u8) -> InvitationKeys {
        let endpoint = "127.0.0.1:1".parse().unwrap();
        let token = Token::new([1; 32].into(), endpoint, "anna".to_owned(), 1, Zeroizing::new([seed; 32]));
        token.unwrap().keys()
    }

    #[test]
    fn the_key_of_an_earlier_attempt_is_used_again_and_that_of_another_invitation_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.conf.enrolling");
        let first = pending_key(&path, &keys(1)).unwrap();
        assert_eq!(pending_key(&path, &keys(1)).unwrap().as_bytes(), first.as_bytes());
        let other = pending_key(&path, &keys(2)).unwrap();
        assert_ne!(other.as_bytes(), first.as_bytes());
        assert_eq!(pending_key(&path, &keys(2)).unwrap().as_bytes(), other.as_bytes());
    }

    #[test]
    fn a_file_that_is_something_else_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.conf.enrolling");
        for text in ["", "my diary", "Invitation = x\nPrivateKey = AAAA\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(pending_key(&path, &keys(1)), Err(EnrollError::NotPending(_))), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
