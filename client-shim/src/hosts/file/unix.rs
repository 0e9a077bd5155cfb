use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn path() -> PathBuf {
    PathBuf::from("/etc/hosts")
}

/// Access control list and SELinux label, where there are any.
#[cfg(target_os = "linux")]
pub(super) fn copy_labels(from: &Path, to: &File) -> io::Result<()> {
    use rustix::fs::{XattrFlags, fsetxattr, getxattr};

    let mut value = vec![0_u8; 64 << 10];
    for name in ["system.posix_acl_access", "security.selinux"] {
        if let Ok(length) = getxattr(from, name, &mut value[..]) {
            fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn copy_labels(_from: &Path, _to: &File) -> io::Result<()> {
    Ok(())
}
