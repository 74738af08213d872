//! The file system in which the kernel keeps pinned programs and maps.

use crate::sh;
use anyhow::{Context as _, Result};
use std::process::Command;

const MOUNT_POINT: &str = "/sys/fs/bpf";
/// What the kernel calls this kind of file system.
const MAGIC: &str = "cafe4a11";

/// A mounted bpffs.
#[must_use = "who mounted it may want to unmount it"]
pub(crate) struct Bpffs {
    mounted_here: bool,
}

/// Mounts it where it belongs, unless it is. systemd does so at boot; containers and minimal systems do not.
pub(crate) fn mount() -> Result<Bpffs> {
    let mounted = is_mounted()?;
    if !mounted {
        eprintln!("mounting bpffs on {MOUNT_POINT}: pinned kernel programs live there, and outlive the program");
        // For root only, as systemd mounts it.
        sh::run(sh::root("mount").args(["-t", "bpf", "-o", "mode=0700", "bpf", MOUNT_POINT])).with_context(|| {
            format!("cannot mount bpffs on {MOUNT_POINT}; are you root, and is the kernel built with BPF?")
        })?;
    }
    Ok(Bpffs { mounted_here: !mounted })
}

/// Asks the file system that is really seen there: the list of mounts also names those covered by another.
fn is_mounted() -> Result<bool> {
    let output = Command::new("stat").args(["--file-system", "--format=%t", MOUNT_POINT]).output();
    let output = output.context("cannot run stat")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == MAGIC)
}

impl Bpffs {
    /// Leaves the machine as it was found, unless somebody has pinned something since: that would be lost.
    pub(crate) fn unmount(self) {
        if self.mounted_here {
            let pins = sh::root("find").args([MOUNT_POINT, "-mindepth", "1", "-print", "-quit"]).output();
            if pins.is_ok_and(|output| output.status.success() && output.stdout.is_empty()) {
                sh::succeeds(sh::root("umount").arg(MOUNT_POINT));
            }
        }
    }
}
