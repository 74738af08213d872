//! The file system in which the kernel keeps pinned programs and maps.

use crate::sh;
use anyhow::{Context as _, Result};
use std::fs;

const MOUNT_POINT: &str = "/sys/fs/bpf";

/// A mounted bpffs.
#[must_use = "who mounted it may want to unmount it"]
pub(crate) struct Bpffs {
    mounted_here: bool,
}

/// Mounts it where it belongs, unless it is. systemd does so at boot; containers and minimal systems do not.
pub(crate) fn mount() -> Result<Bpffs> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(MOUNT_POINT) && fields.next() == Some("bpf")
    });
    if !mounted {
        eprintln!("mounting bpffs on {MOUNT_POINT}: pinned kernel programs live there, and outlive the program");
        // For root only, as systemd mounts it.
        sh::run(sh::root("mount").args(["-t", "bpf", "-o", "mode=0700", "bpf", MOUNT_POINT])).with_context(|| {
            format!("cannot mount bpffs on {MOUNT_POINT}; are you root, and is the kernel built with BPF?")
        })?;
    }
    Ok(Bpffs { mounted_here: !mounted })
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
