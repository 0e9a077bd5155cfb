//! Which names Windows asks whom for: rules of its name resolution policy table (NRPT).
//!
//! Rules are in the registry. Ours are volatile: the next start of Windows finds none that a killed program left.

use std::io;
use std::net::IpAddr;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, NO_ERROR};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WRITE, REG_DWORD, REG_MULTI_SZ, REG_OPTION_NON_VOLATILE,
    REG_OPTION_VOLATILE, REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteTreeW, RegOpenKeyExW,
    RegQueryInfoKeyW, RegSetValueExW,
};

use crate::{check_error, wide};

const RULES: &str = r"SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig";
/// Where rules of the group policy are. One of them switches off all others.
const POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\DNSClient\DnsPolicyConfig";
const INTERFACES: &str = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Interfaces";
/// As many domains as one rule takes. Windows does not say so; Tailscale found it out.
const DOMAINS_PER_RULE: usize = 50;
/// As many rules as ever were ours, so that all are found again.
const MAX_RULES: usize = 8;
/// "Ask these servers": `ConfigOptions` of [MS-GPNRPT].
const GENERIC_SERVERS: u32 = 8;

/// Names under `domains` are asked of `servers`, until it is dropped.
#[derive(Debug)]
pub struct NameRules {
    owner: u128,
}

impl NameRules {
    /// Puts rules in force in place of those before of the same `owner`.
    ///
    /// # Errors
    /// When there are too many domains, or the registry refuses.
    pub fn set(owner: u128, domains: &[String], servers: &[IpAddr]) -> io::Result<Self> {
        remove(owner)?;
        if domains.len() > MAX_RULES * DOMAINS_PER_RULE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many domains"));
        }
        let rules = Self { owner };
        // Not volatile itself: others put rules there that last.
        Key::create(RULES, REG_OPTION_NON_VOLATILE)?;
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        for (at, domains) in domains.chunks(DOMAINS_PER_RULE).enumerate() {
            let key = Key::create(&rule(owner, at), REG_OPTION_VOLATILE)?;
            let dotted: Vec<String> = domains.iter().map(|domain| format!(".{domain}")).collect();
            key.set_number("Version", 1)?;
            key.set_texts("Name", &dotted)?;
            key.set_text("GenericDNSServers", &servers.join("; "))?;
            key.set_number("ConfigOptions", GENERIC_SERVERS)?;
        }
        Ok(rules)
    }
}

impl Drop for NameRules {
    fn drop(&mut self) {
        let _ = remove(self.owner);
    }
}

/// Whether rules of the machine's group policy are in force, so that no others are.
pub fn has_name_policy() -> bool {
    Key::open(POLICY).is_ok_and(|key| key.has_children())
}

/// Has Windows try `suffix` behind short names on the interface of this identifier. Goes with the interface.
///
/// # Errors
/// When the registry refuses.
pub fn set_suffix(interface: u128, suffix: &str) -> io::Result<()> {
    let key = Key::create(&format!(r"{INTERFACES}\{}", braced(interface)), REG_OPTION_NON_VOLATILE)?;
    key.set_text("Domain", suffix)
}

/// The key of a rule, by an identifier of its owner's.
fn rule(owner: u128, at: usize) -> String {
    format!(r"{RULES}\{}", braced(owner.wrapping_add(1 + at as u128)))
}

fn braced(guid: u128) -> String {
    let hex = format!("{guid:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    format!("{{{}-{}-{}-{}-{}}}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[expect(unsafe_code, reason = "a call of the Win32 interface")]
fn remove(owner: u128) -> io::Result<()> {
    for at in 0..MAX_RULES {
        let path = wide(rule(owner, at));
        // SAFETY: the path ends with a zero and outlives the call.
        let error = unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) };
        if error != ERROR_FILE_NOT_FOUND {
            check_error(error)?;
        }
    }
    Ok(())
}

/// An open key below `HKEY_LOCAL_MACHINE`.
struct Key(HKEY);

#[expect(unsafe_code, reason = "calls of the Win32 interface")]
impl Key {
    fn create(path: &str, options: u32) -> io::Result<Self> {
        let (path, mut key) = (wide(path), null_mut());
        // SAFETY: the path outlives the call, and `key` is filled or the call fails.
        check_error(unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                null(),
                options,
                KEY_WRITE,
                null(),
                &raw mut key,
                null_mut(),
            )
        })?;
        Ok(Self(key))
    }

    fn open(path: &str) -> io::Result<Self> {
        let (path, mut key) = (wide(path), null_mut());
        // SAFETY: the path outlives the call, and `key` is filled or the call fails.
        check_error(unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) })?;
        Ok(Self(key))
    }

    fn has_children(&self) -> bool {
        let mut children = 0;
        // SAFETY: the key is open; what is not asked for may be null.
        let error = unsafe {
            RegQueryInfoKeyW(
                self.0,
                null_mut(),
                null_mut(),
                null(),
                &raw mut children,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        error == NO_ERROR && children > 0
    }

    fn set_number(&self, name: &str, value: u32) -> io::Result<()> {
        self.set(name, REG_DWORD, &value.to_le_bytes())
    }

    fn set_text(&self, name: &str, value: &str) -> io::Result<()> {
        self.set(name, REG_SZ, &bytes(&wide(value)))
    }

    fn set_texts(&self, name: &str, values: &[String]) -> io::Result<()> {
        let mut units: Vec<u16> = values.iter().flat_map(wide).collect();
        units.push(0);
        self.set(name, REG_MULTI_SZ, &bytes(&units))
    }

    fn set(&self, name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
        let name = wide(name);
        let length = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the key is open; name and value outlive the call, and the value is as long as is said.
        check_error(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, value.as_ptr(), length) })
    }
}

#[expect(unsafe_code, reason = "a call of the Win32 interface")]
impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody else's.
        unsafe { RegCloseKey(self.0) };
    }
}

fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}
