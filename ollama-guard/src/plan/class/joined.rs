//! Which interfaces are one network, and what the kernel's facts say of who is on it.
//!
//! What enters by a port of a bridge may leave by any other without a route, and so through a pair of which both ends are
//! here, or a VLAN on top. All of it is judged as one: whatever one port gives away, all have given away.

use std::collections::BTreeMap;

use super::fact::{Fact, facts, is_nic, leads_inside, may_lead_inside};
use crate::links::{Link, Links, Use};
use crate::policy::InterfaceName;

/// The networks of a set of interfaces.
#[derive(Debug)]
pub(super) struct Networks {
    /// Which one each interface is on.
    of: BTreeMap<u32, u32>,
    networks: BTreeMap<u32, Network>,
}

/// What is known of one.
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    /// Some port leads to a container or a virtual machine.
    pub(super) has_inside: bool,
    /// Some port may.
    pub(super) may_have_inside: bool,
    /// A NIC of this host, or what carries one's traffic, is on it.
    pub(super) has_nic: bool,
    /// A public IPv4 address is on it.
    pub(super) is_public: bool,
    /// What speaks against its being for containers only, and of which interface.
    pub(super) against: Vec<(InterfaceName, Fact)>,
}

impl Networks {
    pub(super) fn new(links: &Links) -> Self {
        let mut of: BTreeMap<u32, u32> = links.iter().map(|link| (link.index, link.index)).collect();
        for link in links.iter() {
            for other in joined_to(links, link) {
                let (one, other) = (root(&of, link.index), root(&of, other));
                of.insert(one.max(other), one.min(other));
            }
        }
        let mut networks: BTreeMap<u32, Network> = BTreeMap::new();
        for link in links.iter() {
            let network = networks.entry(root(&of, link.index)).or_default();
            network.has_inside |= leads_inside(link);
            network.may_have_inside |= may_lead_inside(link);
            network.has_nic |= is_nic(&link.kind);
            network.is_public |= link.uses.contains(&Use::PublicAddress);
            network.against.extend(facts(link).map(|fact| (link.name.clone(), fact)));
        }
        Self { of, networks }
    }

    /// The one that this interface is on.
    pub(super) fn of(&self, link: &Link) -> Option<&Network> {
        self.networks.get(&root(&self.of, link.index))
    }
}

/// Each names one that comes before it, or itself.
fn root(of: &BTreeMap<u32, u32>, mut index: u32) -> u32 {
    while let Some(&next) = of.get(&index).filter(|&&next| next != index) {
        index = next;
    }
    index
}

/// Its master, and what it is paired with or sits on. Not what a tunnel runs over: its packets are addressed to this host.
fn joined_to(links: &Links, link: &Link) -> impl Iterator<Item = u32> {
    let master = link.master.and_then(|master| links.get(master)).filter(|master| master.kind.gathers());
    let beside = link.lower.and_then(|lower| links.get(lower));
    let beside = beside.filter(|_| link.kind.is_pair() || link.kind.shares_lower());
    master.into_iter().chain(beside).map(|other| other.index)
}
