//! Derived ports: host ports behind which a userland proxy dials a guarded port itself.
//!
//! Docker's docker-proxy, rootless Podman's pasta and their like accept on the host and open a connection of their own
//! to the container. The packets that arrive name the host's port only, and no rule sees where they end, so the port
//! is looked up here and guarded as if it had been configured. A trusted interface still reaches it, and loopback.
//!
//! [`arguments`] and [`engine`] turn text into [`Forward`]s, [`decide`] makes ports of them, [`memory`] keeps those that
//! will be back; all pure. [`watch`] reads, and
//! [`Lookout`] has it do so on a thread of its own.

mod arguments;
mod decide;
mod engine;
mod events;
mod exchange;
mod lookout;
mod memory;
mod silent;
mod watch;

use std::fmt;
use std::net::IpAddr;

pub use lookout::{Gone, Lookout};
use serde::{Deserialize, Serialize};
pub use silent::SilentProxy;
use watch::Watch;
pub use watch::{Found, look};

use crate::policy::{Protocol, ServiceName};

/// A host port that leads to a port of some container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) protocol: Protocol,
    /// The host's port.
    pub(crate) port: u16,
    /// The container's.
    pub(crate) target: u16,
    /// The container's name, else its address.
    pub(crate) container: Option<String>,
    /// What forwards.
    pub(crate) through: String,
    /// It does so now; else its container would, if it ran.
    pub(crate) running: bool,
    /// Believed only if this user listens on the port: anybody can start a program with any name and arguments, but
    /// nobody can listen as somebody else. None for what root's container engine says.
    pub(crate) user: Option<u32>,
}

/// A port that leads to a guarded one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DerivedPort {
    /// Its transport.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// The service it leads to.
    pub service: ServiceName,
    /// The container's name, else its address; none if neither is known.
    pub container: Option<String>,
    /// What forwards, such as `docker-proxy`.
    pub through: String,
    /// It leads there now; else it did, or its container would if it ran, and it is kept closed for that.
    #[serde(default = "is_present")]
    pub present: bool,
    /// Why it is not guarded all the same.
    pub refused: Option<String>,
}

/// What earlier versions wrote down was there.
const fn is_present() -> bool {
    true
}

impl DerivedPort {
    /// Is this the same port, whatever else has become known of it?
    pub fn same_port(&self, other: &Self) -> bool {
        (self.protocol, self.port) == (other.protocol, other.port)
    }

    /// The container is known by its address only.
    fn is_nameless(&self) -> bool {
        self.container.as_ref().is_none_or(|name| name.parse::<IpAddr>().is_ok())
    }
}

/// `tcp 8080 → ollama (container open-webui, docker-proxy)`.
impl fmt::Display for DerivedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, port, service, container, through, present, .. } = self;
        write!(f, "{protocol} {port} → {service} (")?;
        if let Some(container) = container {
            write!(f, "container {container}, ")?;
        }
        write!(f, "{through}{})", if *present { "" } else { ", not there now" })
    }
}
