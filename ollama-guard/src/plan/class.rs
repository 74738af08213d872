//! Which class each interface is in, and whether it is attached, by policy and the kernel's facts (pure).
//!
//! A class that opens something is earned by facts. A name under `containers` is believed as far as no fact speaks
//! against it, and facts that leave no doubt need no name: see `docs/decisions/interface-classes.md`.

mod fact;
mod joined;
mod note;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use fact::Fact;
use joined::{Network, Networks};
pub use note::Note;

use crate::class::Class;
use crate::links::{Hardware, Kind, Link, Links, Use};
use crate::policy::{InterfaceName, NamePattern, Policy};

/// What is to become of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Gets a program of this class. The notes say what a user would not expect.
    Attach(Class, Vec<Note>),
    /// A member of the bridge, bond, team, … ([`Kind::gathers`]) with this index: all it receives, its master receives.
    LeftToMaster(u32),
    /// A member too, whose master does not receive quite all ([`Kind::leaves_link_local`]): gets a program of this class for
    /// the rest, which nftables judges by the member's name.
    Member {
        /// Index of the master.
        master: u32,
        /// Never [`Class::Trusted`]: there is nothing to refuse.
        class: Class,
    },
    /// Not yet; nftables covers it by name meanwhile.
    Waiting(Waiting),
    /// No program, because no stranger's packet can arrive there first.
    NotCounted(NotCounted),
}

/// What an interface waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Until it is up: a container engine may be about to move it to another namespace, and a program
    /// attached here would go with it.
    Up,
}

/// Why an interface needs no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// Loopback, unless `count_loopback` asks for its counters.
    Loopback,
    /// The packets of a VRF device arrived on its slaves, which are judged.
    Vrf,
}

/// The whole verdict on a set of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placements {
    /// By index; every interface has one.
    pub by_index: BTreeMap<u32, Placement>,
    /// Interfaces that a `containers` pattern names and that are guarded all the same. The nftables mirror goes by names
    /// and needs them spelled out, as it does the following two.
    pub refused_containers: BTreeSet<InterfaceName>,
    /// Interfaces that no pattern names and that lead to containers only.
    pub further_containers: BTreeSet<InterfaceName>,
    /// Guarded interfaces with containers behind them: what is for those is for no other machine.
    pub with_containers: BTreeSet<InterfaceName>,
    /// An interface waits for what is not told by any event: until a process runs in a new namespace.
    pub unsettled: bool,
    /// VRF devices: the mirror must not judge by them in prerouting, where a packet passes twice.
    pub vrf_devices: BTreeSet<InterfaceName>,
}

impl Placements {
    /// Judges every interface.
    pub fn new(policy: &Policy, links: &Links) -> Self {
        let mut placements = Self::default();
        let (networks, none) = (Networks::new(links), Network::default());
        for link in links.iter() {
            let network = networks.of(link).unwrap_or(&none);
            let placement = place(policy, links, network, link);
            if let Placement::Attach(class, notes) = &placement {
                placements.tell_nftables(policy, link, network, *class, notes);
            }
            if let Placement::Member { class: Class::Guarded, .. } = placement
                && policy.containers.iter().any(|pattern| pattern.matches(&link.name))
            {
                placements.refused_containers.insert(link.name.clone());
            }
            if link.kind == Kind::Vrf {
                placements.vrf_devices.insert(link.name.clone());
            }
            placements.by_index.insert(link.index, placement);
        }
        placements
    }

    fn tell_nftables(&mut self, policy: &Policy, link: &Link, network: &Network, class: Class, notes: &[Note]) {
        let named = named(&policy.containers, link);
        match class {
            Class::Trusted => {}
            Class::Container if named => {}
            Class::Container => drop(self.further_containers.insert(link.name.clone())),
            Class::Guarded => {
                let refused = |note: &Note| matches!(note, Note::NotForContainers { .. } | Note::WrongKind(_));
                if named && notes.iter().any(refused) {
                    self.refused_containers.insert(link.name.clone());
                }
                if link.raw_name.is_none() && has_containers(network, link, named) {
                    self.with_containers.insert(link.name.clone());
                }
                let outside = |(_, fact): &(_, Fact)| *fact == Fact::Outside;
                let only_outside = !network.against.is_empty() && network.against.iter().all(outside);
                self.unsettled |= only_outside && (named || link.kind == Kind::Bridge);
            }
        }
    }

    /// The verdict on one interface.
    pub fn get(&self, index: u32) -> Option<&Placement> {
        self.by_index.get(&index)
    }
}

/// A bridge of containers, of which something else than a NIC made one of strangers. With a NIC it is this machine's LAN,
/// and who is on it is another machine.
fn is_lost(link: &Link, network: &Network) -> bool {
    link.kind == Kind::Bridge && !network.has_nic
}

/// May a container of this host be behind it? If in doubt there is, except behind what is an uplink by its use.
fn has_containers(network: &Network, link: &Link, named: bool) -> bool {
    let in_doubt = network.may_have_inside && !is_used_as_uplink(network);
    named && network.may_have_inside || is_lost(link, network) && (network.has_inside || in_doubt)
}

fn named(patterns: &[NamePattern], link: &Link) -> bool {
    link.raw_name.is_none() && patterns.iter().any(|pattern| pattern.matches(&link.name))
}

fn place(policy: &Policy, links: &Links, network: &Network, link: &Link) -> Placement {
    match link.kind {
        Kind::Loopback if !policy.count_loopback => return Placement::NotCounted(NotCounted::Loopback),
        Kind::Vrf => return Placement::NotCounted(NotCounted::Vrf),
        _ => {}
    }
    let master = link.master.and_then(|master| links.get(master));
    if let Some(master) = master.filter(|master| master.kind.gathers() && !in_a_circle(links, link)) {
        return member(policy, network, link, master);
    }
    if link.kind.may_move_away() && !link.up {
        return Placement::Waiting(Waiting::Up);
    }
    let (class, mut notes) = classify(policy, network, link);
    // A master that is not known to take over its members' packets: better judged twice than never.
    if let Some(master) = master.filter(|master| master.kind != Kind::Vrf) {
        notes.push(Note::UnknownMaster { name: master.name.clone(), kind: master.kind.clone() });
    }
    Placement::Attach(class, notes)
}

fn member(policy: &Policy, network: &Network, link: &Link, master: &Link) -> Placement {
    // As below: one that is down may be about to move away, and receives nothing.
    let waits = link.kind.may_move_away() && !link.up;
    if !master.kind.leaves_link_local() || waits || link.hardware != Hardware::Ethernet {
        return Placement::LeftToMaster(master.index);
    }
    match classify(policy, network, link).0 {
        Class::Trusted => Placement::LeftToMaster(master.index),
        class => Placement::Member { master: master.index, class },
    }
}

fn classify(policy: &Policy, network: &Network, link: &Link) -> (Class, Vec<Note>) {
    if link.kind == Kind::Loopback {
        return (Class::Trusted, Vec::new());
    }
    if link.raw_name.is_some() {
        return (Class::Guarded, vec![Note::OddName]);
    }
    if link.name.as_str() == "lo" {
        return (Class::Guarded, vec![Note::FalseLoopback(link.kind.clone())]);
    }
    if named(&policy.trusted, link) {
        return (Class::Trusted, note::vpn_name_on_a_nic(link).into_iter().collect());
    }
    let named = named(&policy.containers, link);
    if !matches!(link.kind, Kind::Bridge | Kind::Veth | Kind::Netkit | Kind::Tap) {
        return (Class::Guarded, named.then(|| Note::WrongKind(link.kind.clone())).into_iter().collect());
    }
    let undisputed = network.against.is_empty();
    if undisputed && (named || is_earned(network, link)) {
        return (Class::Container, network.has_inside.then_some(Note::LeadsToContainers).into_iter().collect());
    }
    let is_outside = network.against.iter().any(|(_, fact)| *fact == Fact::Outside);
    let is_uplink = is_outside || is_used_as_uplink(network);
    // Nobody would take an uplink for a network of containers.
    let surprising = named || network.has_inside && is_lost(link, network) && !is_uplink;
    let against = network.against.iter().filter(|_| surprising).map(|(by, fact)| {
        let (by, fact) = (by.clone(), fact.clone());
        Note::NotForContainers { named, by, fact }
    });
    (Class::Guarded, against.take(MOST_NOTES).collect())
}

/// A bridge of a hundred ports is told of by its first.
const MOST_NOTES: usize = 4;

/// Do the facts leave no doubt, whatever its name? It leads inside, this host routes for who is there, and it is a bridge
/// with private addresses, or something to which single addresses are routed, as to a pod. A pair with a network on
/// it may as well be the way to a router in a container, and a public network that of other people's machines.
fn is_earned(network: &Network, link: &Link) -> bool {
    let single = || link.uses.contains(&Use::Address) && !link.uses.contains(&Use::Network);
    let shape = match link.kind {
        Kind::Bridge => !network.is_public,
        Kind::Veth | Kind::Netkit => !network.is_public && single(),
        _ => false,
    };
    network.has_inside && link.forwards && shape
}

fn is_used_as_uplink(network: &Network) -> bool {
    let uplink = |(_, fact): &(_, Fact)| matches!(fact, Fact::DefaultRoute | Fact::Router | Fact::LeasedAddress);
    network.against.iter().any(uplink)
}

/// Does the chain of masters never end? The kernel forbids it; two listings of a changing namespace, pieced
/// together, could still show it, and a circle of members each left to the next would leave none judged.
fn in_a_circle(links: &Links, link: &Link) -> bool {
    let mut current = link;
    for _ in 0..links.len() {
        match current.master.and_then(|master| links.get(master)) {
            Some(master) if master.kind.gathers() => current = master,
            _ => return false,
        }
    }
    true
}
