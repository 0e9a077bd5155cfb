//! Giving up the rights of root and of `CAP_NET_ADMIN` for good.
//!
//! A thread has five sets of capabilities. *Effective* is what it may do now and *permitted* what it may make
//! effective; *inheritable*, *ambient* and *bounding* decide what a program that it executes would get. Emptying the
//! bounding set needs `CAP_SETPCAP`, which a container with `NET_ADMIN` alone lacks; so `no_new_privs` is set too,
//! under which no executed program gains anything, not even as root or by a set-user-ID file.

use std::io;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    no_new_privs, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use thiserror::Error;

/// Why capabilities could not be dropped. The process should end.
#[derive(Debug, Error)]
pub enum CapabilityError {
    #[error("cannot {operation}")]
    Refused { operation: &'static str, source: io::Error },
    #[error("capabilities are left although the kernel took them away: {left}")]
    Left { left: String },
}

impl CapabilityError {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "a security module or a seccomp filter interferes; allow the system calls `capset` and `prctl`"
    }
}

/// Whether the calling thread may configure the network.
#[must_use]
pub fn has_net_admin() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Takes every capability from the calling thread, and the means to get one back.
///
/// Threads inherit from the one that starts them: call it on the main thread before there is another.
///
/// # Errors
/// When the kernel refuses, or does not do as it said.
pub fn drop_capabilities() -> Result<(), CapabilityError> {
    keep_only(CapabilitySet::empty())
}

/// The same, but `CAP_NET_ADMIN` stays. No program that is executed gets it.
///
/// # Errors
/// As [`drop_capabilities`], and when the thread does not have it.
pub fn drop_all_but_net_admin() -> Result<(), CapabilityError> {
    keep_only(CapabilitySet::NET_ADMIN)
}

/// Makes the calling thread that of another user, without further groups, as root may. Threads inherit it like
/// capabilities.
///
/// # Errors
/// When the kernel refuses.
pub fn become_user(uid: u32, gid: u32) -> Result<(), CapabilityError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[]).map_err(at("leave the groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(at("change the group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(at("change the user"))
}

fn keep_only(kept: CapabilitySet) -> Result<(), CapabilityError> {
    set_no_new_privs(true).map_err(at("forbid new privileges"))?;
    clear_ambient_capability_set().map_err(at("clear the ambient capabilities"))?;
    let bounding_left = !empty_bounding_set()?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(at("drop the capabilities"))?;
    verify(kept, bounding_left)
}

/// Whether it could be emptied.
fn empty_bounding_set() -> Result<bool, CapabilityError> {
    for capability in known() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(false),
            Err(errno) => return Err(at("empty the bounding set")(errno)),
        }
    }
    Ok(true)
}

fn verify(kept: CapabilitySet, bounding_left: bool) -> Result<(), CapabilityError> {
    let sets = capabilities(None).map_err(at("read the capabilities back"))?;
    let privileged = !no_new_privs().map_err(at("read back whether new privileges are forbidden"))?;
    let bounding = !bounding_left && known().any(is_bounding);
    let held = sets.effective | sets.permitted;
    if held == kept && sets.inheritable.is_empty() && !privileged && !bounding {
        return Ok(());
    }
    let left = format!("{sets:?}, bounding: {bounding}, new privileges allowed: {privileged}");
    Err(CapabilityError::Left { left })
}

/// All that this kernel has, including those without a name here. It refuses to look for others.
fn known() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .take_while(|capability| capability_is_in_bounding_set(*capability).is_ok())
}

fn is_bounding(capability: CapabilitySet) -> bool {
    capability_is_in_bounding_set(capability).unwrap_or(false)
}

fn at(operation: &'static str) -> impl Fn(Errno) -> CapabilityError {
    move |errno| CapabilityError::Refused { operation, source: errno.into() }
}
