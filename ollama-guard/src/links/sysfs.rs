//! Whether a NIC has a parent device, on kernels that do not say so over netlink (before 5.14).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Kind, Link};

const NET: &str = "/sys/class/net";

/// `/sys/class/net/NAME/device` exists, and sysfs speaks of this very interface: a mounted sysfs shows the
/// network namespace it was mounted from, where the same name may be another device.
pub(super) fn has_parent_device(link: &Link) -> bool {
    if link.kind != Kind::Physical {
        return false;
    }
    let directory = directory(link);
    let says = |file: &str, expected: &str| {
        fs::read_to_string(directory.join(file)).is_ok_and(|content| content.trim_end() == expected)
    };
    says("ifindex", &link.index.to_string())
        && says("address", &address(&link.address))
        && directory.join("device").exists()
}

fn directory(link: &Link) -> PathBuf {
    let name = link.raw_name.as_deref().unwrap_or(link.name.as_str().as_bytes());
    Path::new(NET).join(OsStr::from_bytes(name))
}

fn address(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
