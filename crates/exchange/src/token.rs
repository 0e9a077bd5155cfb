//! The invitation token: one line that a person copies or a phone scans.
//!
//! `vgi1-` and base64url of: gateway's public key (32 bytes), seed (32), end (8, seconds since 1970, big-endian),
//! client name and endpoint (each a length byte and text), and four bytes of SHA-256 over all before, so that a slip
//! in copying is told apart from a forgery.

use std::fmt;
use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use vmsgate_config::address::Endpoint;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use crate::invitation::InvitationKeys;

const MARK: &str = "vgi1-";
const CHECK_BYTES: usize = 4;
/// A name and an endpoint of their greatest lengths fit.
const MAX_TEXT: usize = 1024;
const MAX_FIELD: usize = 255;

/// What an invitation token says.
pub struct Token {
    pub gateway: PublicKey,
    pub endpoint: Endpoint,
    /// The name of the client that the invitation is for.
    pub client: String,
    /// Seconds since 1970; it is of no use afterwards.
    pub expires: u64,
    seed: Zeroizing<[u8; 32]>,
}

/// Why a text is no invitation. Never repeats the text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("an invitation begins with `{MARK}`")]
    NotAToken,
    #[error("the invitation has a version that this program does not know; get a newer vmsgate-shim")]
    Version,
    #[error("the invitation is damaged: a character is missing, added or altered")]
    Damaged,
    #[error("the client's name or the endpoint is too long for an invitation (at most {MAX_FIELD} bytes)")]
    TooLong,
}

impl TokenError {
    /// What the user can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotAToken | Self::Damaged => "copy the whole line again, or ask for a new invitation",
            Self::Version => "install the version that your administrator uses",
            Self::TooLong => "use a shorter name",
        }
    }
}

impl Token {
    /// `seed`: 32 random bytes.
    pub fn new(
        gateway: PublicKey,
        endpoint: Endpoint,
        client: String,
        expires: u64,
        seed: Zeroizing<[u8; 32]>,
    ) -> Result<Self, TokenError> {
        if client.len() > MAX_FIELD || endpoint.to_string().len() > MAX_FIELD {
            return Err(TokenError::TooLong);
        }
        Ok(Token { gateway, endpoint, client, expires, seed })
    }

    pub fn keys(&self) -> InvitationKeys {
        InvitationKeys::from_seed(&self.seed)
    }

    /// The line; wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        let endpoint = self.endpoint.to_string();
        // Growing would leave copies of the seed in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TEXT));
        bytes.extend_from_slice(self.gateway.as_bytes());
        bytes.extend_from_slice(&*self.seed);
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        for field in [&self.client, &endpoint] {
            bytes.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(field.as_bytes());
        }
        let check = Sha256::digest(bytes.as_slice());
        bytes.extend(check.iter().take(CHECK_BYTES));
        let mut text = Zeroizing::new(String::with_capacity(2 * MAX_TEXT));
        text.push_str(MARK);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        text
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(encoded) = text.strip_prefix(MARK) else {
            return Err(if is_of_another_version(text) {
                TokenError::Version
            } else {
                TokenError::NotAToken
            });
        };
        if encoded.len() > MAX_TEXT {
            return Err(TokenError::Damaged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map(Zeroizing::new).map_err(|_| TokenError::Damaged)?;
        let (body, check) = bytes
            .len()
            .checked_sub(CHECK_BYTES)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(TokenError::Damaged)?;
        if !Sha256::digest(body).starts_with(check) {
            return Err(TokenError::Damaged);
        }
        parse(body).ok_or(TokenError::Damaged)
    }
}

fn is_of_another_version(text: &str) -> bool {
    let digits = text.strip_prefix("vgi").and_then(|rest| rest.split_once('-')).map(|(version, _)| version);
    digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
}

fn parse(body: &[u8]) -> Option<Token> {
    let (gateway, rest) = body.split_first_chunk::<32>()?;
    let (seed, rest) = rest.split_first_chunk::<32>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (client, rest) = field(rest)?;
    let (endpoint, rest) = field(rest)?;
    if !rest.is_empty() || client.is_empty() || client.chars().any(char::is_control) {
        return None;
    }
    Some(Token {
        gateway: PublicKey::from(*gateway),
        endpoint: endpoint.parse().ok()?,
        client: client.to_owned(),
        expires: u64::from_be_bytes(*expires),
        seed: Zeroizing::new(*seed),
    })
}

fn field(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("client", &self.client)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let endpoint = "vpn.example.org:51820".parse().unwrap();
        let seed = Zeroizing::new([7; 32]);
        Token::new(PublicKey::from([3; 32]), endpoint, "anna-laptop".to_owned(), 1_800_000_000, seed).unwrap()
    }

    #[test]
    fn a_token_says_the_same_after_a_copy() {
        let text = token().to_text();
        let read: Token = format!(" {}\n", *text).parse().unwrap();
        assert_eq!(
            (read.gateway, &read.endpoint, read.expires),
            (token().gateway, &token().endpoint, 1_800_000_000)
        );
        assert_eq!((read.client.as_str(), read.keys().public()), ("anna-laptop", token().keys().public()));
        assert!(text.len() < 200 && !text.contains(char::is_whitespace), "{} characters", text.len());
    }

    #[test]
    fn one_altered_missing_or_added_character_is_noticed() {
        let text = token().to_text();
        for at in 0..text.len() {
            for other in ['A', 'b', '-', '_', '\u{e9}', '9'] {
                let altered: String = text
                    .chars()
                    .enumerate()
                    .map(|(index, was)| if index == at { other } else { was })
                    .collect();
                // The last character has bits that no byte uses; base64 decoding refuses them unless they are zero.
                assert!(altered == *text || altered.parse::<Token>().is_err(), "character {at} {other}");
            }
            let mut shorter = text.to_string();
            shorter.remove(at);
            assert!(shorter.parse::<Token>().is_err(), "without character {at}");
            assert!(text[..at].parse::<Token>().is_err(), "the first {at}");
        }
        assert_eq!(format!("{}A", *text).parse::<Token>().unwrap_err(), TokenError::Damaged);
    }

    #[test]
    fn other_texts_are_told_apart() {
        assert_eq!("hello".parse::<Token>().unwrap_err(), TokenError::NotAToken);
        assert_eq!("vgi2-AAAA".parse::<Token>().unwrap_err(), TokenError::Version);
        assert_eq!("vgi1-".parse::<Token>().unwrap_err(), TokenError::Damaged);
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let mut body: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
            let check = Sha256::digest(&body);
            body.extend(&check[..CHECK_BYTES]);
            let _ = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(&body)).parse::<Token>();
        }
    }
}
