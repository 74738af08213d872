//! Why a netlink conversation failed.

use std::io;

/// Says what was asked of the kernel and what to do about the refusal.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket.
    #[error("cannot open a {family} netlink socket: {source}; a service needs AF_NETLINK in RestrictAddressFamilies=")]
    Open {
        /// Which kind.
        family: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The conversation broke.
    #[error("cannot {what}: {source}")]
    Request {
        /// What was asked, as a verb and its object.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A reply that cannot be understood. An interface that cannot be named must not be passed over.
    #[error("the kernel's answer when asked to {what} cannot be read ({detail}); please report it with `uname -r`")]
    Malformed {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The kernel was built without the netlink family.
    #[error("this kernel has no netlink family \"{0}\"; what it would have told is unknown")]
    NoFamily(&'static str),
}

impl NetlinkError {
    /// The error number, where the kernel gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Open { source, .. } | Self::Request { source, .. } => source.raw_os_error(),
            Self::Malformed { .. } | Self::NoFamily(_) => None,
        }
    }
}
