//! What can go wrong between us and the kernel, in words that name the thing and the next step.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::exit::as_root;
use crate::netlink::NetlinkError;

/// An error of the wall.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// The pin directory is not on a BPF file system.
    #[error("{path} is not on a BPF file system; mount one first: mount -t bpf bpf /sys/fs/bpf")]
    NoBpfFileSystem {
        /// The configured directory.
        path: PathBuf,
    },
    /// The pin directory belongs to somebody else or is open to others.
    #[error(
        "{path} {what}: whoever made it could change what is enforced. Look at what is in it, remove it \
         (rm -r {path}) and start again"
    )]
    Squatted {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file operation on the pin directory failed.
    #[error("cannot {action} {path}: {source}{}", as_root(source))]
    Pin {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refuses BPF to this process.
    #[error(
        "the kernel refuses BPF to this process: run it as root, or give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NotPermitted,
    /// A program did not load.
    #[error("the kernel refused the {program} program: {reason}")]
    Load {
        /// Its name.
        program: &'static str,
        /// What the kernel or the loader said.
        reason: String,
    },
    /// A program could not be attached to an interface by any of the hooks tried.
    #[error("nothing could be attached to {interface}: {reasons}")]
    Attach {
        /// The interface.
        interface: String,
        /// Hook by hook.
        reasons: String,
    },
    /// Traffic control could not be read or changed.
    #[error(transparent)]
    Netlink(NetlinkError),
    /// A map could not be read or written.
    #[error("cannot {action} the map \"{map}\": {source}")]
    Map {
        /// What was attempted.
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl From<NetlinkError> for DatapathError {
    fn from(error: NetlinkError) -> Self {
        if error.raw_os_error() == Some(libc::EPERM) { Self::NotPermitted } else { Self::Netlink(error) }
    }
}

impl DatapathError {
    /// Names the map in an I/O error.
    pub(super) fn map(action: &'static str, map: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted,
            _ => Self::Map { action, map, source },
        }
    }
}
