//! The class of an interface: how far the policy trusts what arrives on it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Decided by name and facts (`policy` × `links`), constant in a loaded kernel program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Packets to guarded ports pass and are counted.
    Trusted,
    /// Leads to containers and virtual machines only: to this host as `container_access` says, onward they pass.
    Container,
    /// Everything else, present and future: dropped unless an `[[allow]]` names the source.
    Guarded,
}

impl Class {
    /// Status column and metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Container => "container",
            Self::Guarded => "guarded",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
