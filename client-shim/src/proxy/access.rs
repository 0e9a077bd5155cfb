//! Who may use the proxy: whoever knows the password.
//!
//! On a machine with several users a loopback port is everybody's, and so is one for the pages of a careless browser.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::files::read_bounded;

/// The only user there is.
pub const USERNAME: &str = "vmsgate";
/// RFC 1929 section 2: the length is one byte.
const MAX_BYTES: usize = 255;
/// Of a random password: 144 bits, 24 characters.
const RANDOM_BYTES: usize = 18;

/// Why a file gives no password.
#[derive(Debug, Error)]
pub enum AccessError {
    #[error("{}: cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: holds no password: one line of 1 to {MAX_BYTES} bytes is expected, without control characters", .0.display())]
    NoPassword(PathBuf),
}

/// A password, which is shown to nobody by accident.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Who may come in.
#[derive(Debug)]
pub struct Access(Option<Password>);

impl Access {
    /// Everybody on this machine may.
    pub const fn open() -> Self {
        Self(None)
    }

    pub const fn with(password: Password) -> Self {
        Self(Some(password))
    }

    pub const fn password(&self) -> Option<&Password> {
        self.0.as_ref()
    }

    /// Whether these are the right ones. Takes as long for wrong ones of any kind.
    pub(super) fn admits(&self, username: &[u8], password: &[u8]) -> bool {
        let Some(expected) = &self.0 else { return true };
        let same = |a: &[u8], b: &[u8]| Sha256::digest(a).as_slice().ct_eq(Sha256::digest(b).as_slice());
        (same(username, USERNAME.as_bytes()) & same(password, expected.0.as_bytes())).into()
    }

    /// The same for the value of a `Proxy-Authorization` (RFC 7617).
    pub(super) fn admits_basic(&self, authorization: Option<&[u8]>) -> bool {
        if self.0.is_none() {
            return true;
        }
        let Some(decoded) = authorization.and_then(basic) else { return false };
        let mut parts = decoded.splitn(2, |byte| *byte == b':');
        let (username, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.admits(username, password)
    }
}

impl Password {
    /// A new one, that nobody can guess.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        OsRng.fill_bytes(&mut *bytes);
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
    }

    /// The first and only line of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no password.
    pub fn from_file(path: &Path) -> Result<Self, AccessError> {
        let unreadable = |source| AccessError::Unreadable { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let content = read_bounded(&mut file).map_err(unreadable)?;
        let password = content.and_then(|content| line(&content).map(|line| Zeroizing::new(line.to_owned())));
        password.map(Self).ok_or_else(|| AccessError::NoPassword(path.to_owned()))
    }

    /// The password itself, for whoever may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn line(content: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let sound = !text.is_empty() && text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
    sound.then_some(text)
}

/// What stands behind the scheme `Basic`, which is written in any case.
fn basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(password: &str) -> Access {
        Access::with(Password(Zeroizing::new(password.to_owned())))
    }

    #[test]
    fn only_the_right_name_with_the_right_password_comes_in() {
        let access = access("s3cret:with colon");
        assert!(access.admits(b"vmsgate", b"s3cret:with colon"));
        for (username, password) in [
            ("vmsgate", ""),
            ("vmsgate", "s3cret"),
            ("vmsgate", "s3cret:with colon "),
            ("Vmsgate", "s3cret:with colon"),
            ("", "s3cret:with colon"),
        ] {
            assert!(!access.admits(username.as_bytes(), password.as_bytes()), "{username} {password}");
        }
        assert!(Access::open().admits(b"", b""));
    }

    #[test]
    fn http_says_the_same_in_base64() {
        let access = access("s3cret:with colon");
        let value = |scheme: &str, text: &str| format!("{scheme} {}", STANDARD.encode(text)).into_bytes();
        for scheme in ["Basic", "basic", "BASIC"] {
            assert!(access.admits_basic(Some(&value(scheme, "vmsgate:s3cret:with colon"))));
        }
        for wrong in [
            value("Basic", "vmsgate:"),
            value("Basic", "vmsgate"),
            value("Bearer", "vmsgate:s3cret:with colon"),
            b"Basic".to_vec(),
            b"Basic ".to_vec(),
            b"Basic !!!".to_vec(),
            Vec::new(),
        ] {
            assert!(!access.admits_basic(Some(&wrong)), "{wrong:?}");
        }
        assert!(!access.admits_basic(None));
        assert!(Access::open().admits_basic(None));
    }

    #[test]
    fn a_password_is_one_line() {
        assert_eq!(line(b"one two\r\n"), Some("one two"));
        assert_eq!(line("s\u{e4}tze".as_bytes()), Some("s\u{e4}tze"));
        for none in [&b""[..], b"\n", b"one\ntwo\n", b"a\tb", b"\xff", &[b'x'; MAX_BYTES + 1]] {
            assert_eq!(line(none), None, "{none:?}");
        }
    }

    #[test]
    fn passwords_differ_and_are_not_shown() {
        let (one, two) = (Password::random(), Password::random());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), 24);
        let shown = format!("{:?}", Access::with(one.clone()));
        assert!(!shown.contains(one.reveal()), "{shown}");
    }

    #[test]
    fn a_file_that_is_none_or_has_no_password_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let error = Password::from_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be read", path.display())), "{error}");
        std::fs::write(&path, "\n").unwrap();
        let error = Password::from_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: holds no password", path.display())), "{error}");
        std::fs::write(&path, "right\n").unwrap();
        assert_eq!(Password::from_file(&path).unwrap().reveal(), "right");
        Password::from_file(Path::new("/dev/zero")).unwrap_err();
    }
}
