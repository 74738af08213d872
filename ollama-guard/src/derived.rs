//! Derived ports: host ports behind which a userland proxy dials a guarded port itself.
//!
//! Docker's docker-proxy, rootless Podman's pasta and their like accept on the host and open a connection of their own
//! to the container. The packets that arrive name the host's port only, and no rule sees where they end, so the port
//! is looked up here and guarded as if it had been configured. A trusted interface still reaches it, and loopback.
//!
//! Anybody can start a program with any name and arguments. So names only say where to look: what is believed is that a
//! listening socket of this host is held by the one who says where it leads, or that root says so. And others decide how much
//! there is to look at: a look ends at a [`Deadline`], and each user is heard up to a [`crate::quota`].
//!
//! [`arguments`], [`engine`] and [`ipvs`] turn text into [`Forward`]s, [`decide`] makes ports of them, [`memory`] keeps those
//! that will be back; all pure. [`watch`] reads, and [`Lookout`] has it do so on a thread of its own.

mod arguments;
mod decide;
mod engine;
mod events;
mod exchange;
mod holders;
mod ipvs;
mod lookout;
mod memory;
mod reach;
mod unknown;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

pub use lookout::{Gone, Lookout};
use serde::{Deserialize, Serialize};
pub use unknown::Unknown;
use watch::Watch;

use crate::policy::{Protocol, ServiceName};

/// When a look ends, whatever is missing by then.
type Deadline = std::time::Instant;

/// A port of this host.
pub(crate) type Place = (Protocol, u16);

/// Host ports that lead to ports of some container, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) protocol: Protocol,
    /// The host's ports.
    pub(crate) ports: RangeInclusive<u16>,
    /// The container's port behind the first of them.
    pub(crate) target: u16,
    /// The container's name, else its address.
    pub(crate) container: Option<String>,
    /// What forwards.
    pub(crate) through: &'static str,
    /// It does so now; else its container would, if it ran.
    pub(crate) running: bool,
    /// Whose word it is.
    pub(crate) word: Word,
}

/// Who says where a port leads, which decides for which sockets that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Root's engine, or the kernel: for these addresses of this host, whatever listens there.
    Root(BTreeSet<IpAddr>),
    /// An engine of this user: for the sockets of this user.
    User(u32),
    /// A process of this user, by itself: for the sockets that it holds.
    Process {
        /// The process.
        id: u32,
        /// Whose it is.
        user: u32,
    },
}

impl Word {
    /// Whose word it is, in the end.
    pub(crate) const fn user(&self) -> u32 {
        match self {
            Self::Root(_) => 0,
            Self::User(user) | Self::Process { user, .. } => *user,
        }
    }
}

impl Forward {
    /// The host port that leads to this port of the container.
    pub(crate) fn port_to(&self, target: u16) -> Option<u16> {
        let port = self.ports.start().checked_add(target.checked_sub(self.target)?)?;
        self.ports.contains(&port).then_some(port)
    }

    /// Where this port of the host leads.
    pub(crate) fn target_of(&self, (protocol, port): Place) -> Option<u16> {
        let covered = protocol == self.protocol && self.ports.contains(&port);
        covered.then(|| self.target.checked_add(port - self.ports.start())).flatten()
    }
}

/// All addresses of this host.
pub(crate) fn everywhere() -> BTreeSet<IpAddr> {
    [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].into()
}

/// A port that leads to a guarded one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DerivedPort {
    /// Its transport.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// Addresses of this host at which it is guarded, because something listens there that leads on; the unspecified one
    /// stands for all of its family. (What earlier versions wrote down was guarded everywhere.)
    #[serde(default = "everywhere")]
    pub addresses: BTreeSet<IpAddr>,
    /// The service it leads to.
    pub service: ServiceName,
    /// The container's name, else its address; none if neither is known.
    pub container: Option<String>,
    /// What forwards, such as `docker-proxy`.
    pub through: String,
    /// It leads there now; else it did, or its container would if it ran, and it is kept closed for that.
    #[serde(default = "is_present")]
    pub present: bool,
    /// Whose word it is that it leads there.
    #[serde(default)]
    pub user: u32,
    /// Its container has yet to start: whether anybody will lead there is not known.
    #[serde(default)]
    pub expected: bool,
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
        self.place() == other.place()
    }

    const fn place(&self) -> Place {
        (self.protocol, self.port)
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
