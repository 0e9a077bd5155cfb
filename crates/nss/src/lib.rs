//! Name resolution in a statically linked program.
//!
//! glibc asks the services that `/etc/nsswitch.conf` names for a host, and loads each of them at run time from the
//! machine's own libraries. A statically linked program that does so on a machine with another version of glibc crashes
//! (<https://github.com/rust-lang/rust/issues/100711>), for instance where the file names `mdns4_minimal`, `resolve` or
//! `myhostname`, as most desktops do. The services `files` (`/etc/hosts`) and `dns` (`/etc/resolv.conf`) are part of
//! glibc since version 2.34, so a static program uses these two and no other. Names that only multicast DNS or a
//! directory knows are not found then; systemd-resolved answers through `/etc/resolv.conf` too.

/// Makes a statically linked program resolve names with what is linked into it. Elsewhere it does nothing.
///
/// To be called before the first name is looked up.
///
/// # Errors
/// When there is no memory for it.
pub fn use_linked_services() -> std::io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
    linked::configure(c"hosts", c"files dns")?;
    Ok(())
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
#[allow(unsafe_code, reason = "a function of glibc that no crate declares")]
mod linked {
    use std::ffi::{CStr, c_char, c_int};
    use std::io;

    unsafe extern "C" {
        /// `nss.h`: takes the place of a line of `/etc/nsswitch.conf` in this process. Copies both texts.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    pub(super) fn configure(database: &CStr, services: &CStr) -> io::Result<()> {
        // SAFETY: both are texts that end with a zero and outlive the call.
        match unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
