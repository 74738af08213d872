//! A guarded service: a name and the ports it listens on.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most services one policy can hold: the kernel keeps a service in four bits, zero meaning none.
pub const MAX_SERVICES: usize = ollama_guard_common::abi::MAX_SERVICES;

/// Ollama's own port.
pub const OLLAMA: NonZeroU16 = NonZeroU16::new(11_434).unwrap();

/// One guarded service. `ports` and `protocols` are never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Metric label and status row.
    pub name: ServiceName,
    /// Destination ports.
    pub ports: BTreeSet<NonZeroU16>,
    /// Transport protocols; every port is guarded in each.
    pub protocols: BTreeSet<Protocol>,
    /// Guard its ports even if people get into this machine by them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insist: bool,
}

impl Service {
    /// Is this port the service's?
    pub fn covers(&self, protocol: Protocol, port: NonZeroU16) -> bool {
        self.protocols.contains(&protocol) && self.ports.contains(&port)
    }
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IP protocol 6 (RFC 9293).
    Tcp,
    /// IP protocol 17 (RFC 768).
    Udp,
}

impl Protocol {
    /// The IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A service's name: 1 to 31 of `a-z A-Z 0-9 . _ -`, so that it is safe as a metric label and an nft comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// Why a text is no service name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidService(String);

impl fmt::Display for InvalidService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not a service name: use 1 to 31 letters, digits, dots, dashes or underscores",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for InvalidService {}

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidService;

    fn try_from(text: String) -> Result<Self, InvalidService> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=31).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidService(text))
        }
    }
}

impl FromStr for ServiceName {
    type Err = InvalidService;

    fn from_str(text: &str) -> Result<Self, InvalidService> {
        text.to_owned().try_into()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
