//! Why an interface has the hook it has.

use std::fmt;

use crate::class::Class;
use crate::links::Kind;
use crate::policy::InterfaceName;

/// A short text by `Display`, for the column beside the hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookReason {
    /// The configuration says so.
    Configured,
    /// Native XDP: a NIC with nothing in the way.
    PhysicalNic,
    /// An interface of a class whose program counts.
    Counting(Class),
    /// No Ethernet header for XDP to read.
    LayerThree,
    /// Its frames are shared with an interface on top.
    HasOnTop {
        /// That interface.
        name: InterfaceName,
        /// What it is.
        kind: Kind,
    },
    /// Another NIC works on its behalf.
    HasMember(InterfaceName),
    /// Somebody else's XDP program is there.
    ForeignXdp(u32),
    /// A virtual device, on which native XDP slows down everything else.
    NotPhysical(Kind),
    /// The driver keeps a frame in one buffer with XDP, and the device can have a larger MTU.
    ForbidsMtus,
    /// Its master receives, and judges, nearly all.
    Member(InterfaceName),
    /// Native XDP was tried; the kernel's words.
    DriverRefused(String),
    /// Native XDP was tried and taken back, because it changed the device; the differences in words.
    RolledBack(Vec<String>),
}

impl fmt::Display for HookReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::PhysicalNic => f.write_str("physical NIC"),
            Self::Counting(class) => write!(f, "{class}: counted by traffic control"),
            Self::LayerThree => f.write_str("layer-3 device"),
            Self::HasOnTop { name, kind: Kind::Vlan } => write!(f, "has VLAN {name} on top"),
            Self::HasOnTop { name, kind } => write!(f, "has {kind} {name} on top"),
            Self::HasMember(name) => write!(f, "has member {name}"),
            Self::ForeignXdp(id) => write!(f, "another XDP program (id {id}) is attached"),
            Self::NotPhysical(Kind::Physical) => f.write_str("not a physical NIC"),
            Self::NotPhysical(kind) => write!(f, "not a physical NIC ({kind})"),
            Self::ForbidsMtus => f.write_str("native XDP would forbid larger MTUs"),
            Self::Member(master) => write!(f, "member of {master}"),
            Self::DriverRefused(error) => write!(f, "driver refused native XDP: {error}"),
            Self::RolledBack(differences) => write!(f, "native XDP taken back, it changed {}", differences.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a choice are in the tests of the choice; these come after an attempt.
    #[test]
    fn what_came_of_an_attempt() {
        let refused = HookReason::DriverRefused("Operation not supported (os error 95)".into());
        assert_eq!(refused.to_string(), "driver refused native XDP: Operation not supported (os error 95)");
        let back = HookReason::RolledBack(vec!["tx queues from 8 to 4".into(), "offload lro".into()]);
        assert_eq!(back.to_string(), "native XDP taken back, it changed tx queues from 8 to 4, offload lro");
    }
}
