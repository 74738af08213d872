//! What the kernel's facts say of one interface: does it lead to containers and virtual machines, or elsewhere?

use std::fmt;

use crate::links::{Kind, Link, Use};

/// What speaks against an interface that should lead to containers and virtual machines only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A default route leaves there.
    DefaultRoute,
    /// A route leads to a router there.
    Router,
    /// An address was leased there.
    LeasedAddress,
    /// Its routes could not be read.
    Unknown,
    /// A device of a kind that leads elsewhere.
    Foreign(Kind),
    /// A tap without virtio's header: a VPN's, perhaps.
    BareTap,
    /// One end of a pair whose other end is in a namespace that is not known to be inside.
    Outside,
}

/// What speaks against this interface.
pub(super) fn facts(link: &Link) -> impl Iterator<Item = Fact> {
    let uses = link.uses.iter().filter_map(|what| match what {
        Use::DefaultRoute => Some(Fact::DefaultRoute),
        Use::Router => Some(Fact::Router),
        Use::LeasedAddress => Some(Fact::LeasedAddress),
        Use::Unknown => Some(Fact::Unknown),
        Use::PublicAddress | Use::Network | Use::Address => None,
    });
    uses.chain(foreign(link))
}

fn foreign(link: &Link) -> Option<Fact> {
    match link.kind {
        // Nothing can arrive on a dummy; LXD adds one to hold a bridge's MTU.
        Kind::Bridge | Kind::Dummy => None,
        // Nor while it is down: old libvirt adds a tap for a bridge's address, engines make pairs and move one end.
        Kind::Veth | Kind::Netkit | Kind::Tap if !link.up => None,
        Kind::Tap => (!link.virtio).then_some(Fact::BareTap),
        Kind::Veth | Kind::Netkit => {
            link.elsewhere.filter(|there| there.id >= 0 && !there.inside).map(|_| Fact::Outside)
        }
        _ => Some(Fact::Foreign(link.kind.clone())),
    }
}

/// Does it lead to a container or a virtual machine?
pub(super) fn leads_inside(link: &Link) -> bool {
    match link.kind {
        Kind::Veth | Kind::Netkit => link.elsewhere.is_some_and(|there| there.inside),
        Kind::Tap => link.virtio,
        _ => false,
    }
}

/// Might it? A namespace that cannot be seen may be a container's that has just been made.
pub(super) fn may_lead_inside(link: &Link) -> bool {
    match link.kind {
        Kind::Veth | Kind::Netkit => link.elsewhere.is_some_and(|there| there.id >= 0),
        Kind::Tap => true,
        _ => false,
    }
}

/// A NIC, or what carries the traffic of one.
pub(super) fn is_nic(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Physical
            | Kind::Bond
            | Kind::Team
            | Kind::Vlan
            | Kind::Macvlan
            | Kind::Macvtap
            | Kind::Ipvlan
            | Kind::Ipvtap
    )
}

/// Of another interface, after its name.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultRoute => f.write_str("carries a default route"),
            Self::Router => f.write_str("leads to a router, by the routing tables"),
            Self::LeasedAddress => f.write_str("has an address that another machine gave it"),
            Self::Unknown => f.write_str("may carry a default route: its routes cannot be read"),
            Self::Foreign(kind) => write!(f, "is a {kind} device"),
            Self::BareTap => f.write_str("is a tap without virtio, which may be a VPN's"),
            Self::Outside => f.write_str("leads to a namespace in which no process or name can be seen from here"),
        }
    }
}
