//! Which class each interface is in, and whether it is attached, by policy and kind (pure).

mod note;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use note::Note;

use crate::class::Class;
use crate::links::{Hardware, Kind, Link, Links};
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
    /// Interfaces that a `containers` pattern names and that are guarded all the same: no bridge, or one with
    /// a member that carries others' traffic. The nftables mirror goes by names and needs them spelled out.
    pub refused_containers: BTreeSet<InterfaceName>,
    /// VRF devices: the mirror must not judge by them in prerouting, where a packet passes twice.
    pub vrf_devices: BTreeSet<InterfaceName>,
}

impl Placements {
    /// Judges every interface.
    pub fn new(policy: &Policy, links: &Links) -> Self {
        let mut placements = Self::default();
        for link in links.iter() {
            let placement = place(policy, links, link);
            if let Placement::Attach(_, notes) = &placement
                && notes.iter().any(|note| matches!(note, Note::ForeignMember { .. } | Note::NotABridge(_)))
            {
                placements.refused_containers.insert(link.name.clone());
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

    /// The verdict on one interface.
    pub fn get(&self, index: u32) -> Option<&Placement> {
        self.by_index.get(&index)
    }
}

fn place(policy: &Policy, links: &Links, link: &Link) -> Placement {
    match link.kind {
        Kind::Loopback if !policy.count_loopback => return Placement::NotCounted(NotCounted::Loopback),
        Kind::Vrf => return Placement::NotCounted(NotCounted::Vrf),
        _ => {}
    }
    let master = link.master.and_then(|master| links.get(master));
    if let Some(master) = master.filter(|master| master.kind.gathers() && !in_a_circle(links, link)) {
        return member(policy, links, link, master);
    }
    if link.kind.may_move_away() && !link.up {
        return Placement::Waiting(Waiting::Up);
    }
    let (class, mut notes) = classify(policy, links, link);
    // A master that is not known to take over its members' packets: better judged twice than never.
    if let Some(master) = master.filter(|master| master.kind != Kind::Vrf) {
        notes.push(Note::UnknownMaster { name: master.name.clone(), kind: master.kind.clone() });
    }
    Placement::Attach(class, notes)
}

fn member(policy: &Policy, links: &Links, link: &Link, master: &Link) -> Placement {
    // As below: one that is down may be about to move away, and receives nothing.
    let waits = link.kind.may_move_away() && !link.up;
    if !master.kind.leaves_link_local() || waits || link.hardware != Hardware::Ethernet {
        return Placement::LeftToMaster(master.index);
    }
    match classify(policy, links, link).0 {
        Class::Trusted => Placement::LeftToMaster(master.index),
        class => Placement::Member { master: master.index, class },
    }
}

fn classify(policy: &Policy, links: &Links, link: &Link) -> (Class, Vec<Note>) {
    let named = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(&link.name));
    if link.kind == Kind::Loopback {
        return (Class::Trusted, Vec::new());
    }
    if link.raw_name.is_some() {
        return (Class::Guarded, vec![Note::OddName]);
    }
    if link.name.as_str() == "lo" {
        return (Class::Guarded, vec![Note::FalseLoopback(link.kind.clone())]);
    }
    if named(&policy.trusted) {
        return (Class::Trusted, note::vpn_name_on_a_nic(link).into_iter().collect());
    }
    if !named(&policy.containers) {
        return (Class::Guarded, Vec::new());
    }
    if link.kind != Kind::Bridge {
        return (Class::Guarded, vec![Note::NotABridge(link.kind.clone())]);
    }
    // Nothing can arrive on a dummy; LXD adds one to hold a bridge's MTU, old libvirt to hold its address.
    let harmless = |member: &Link| matches!(member.kind, Kind::Veth | Kind::Tap | Kind::Dummy);
    let foreign: Vec<Note> = links
        .members_of(link.index)
        .filter(|member| !harmless(member))
        .map(|member| Note::ForeignMember { name: member.name.clone(), kind: member.kind.clone() })
        .collect();
    if foreign.is_empty() { (Class::Container, Vec::new()) } else { (Class::Guarded, foreign) }
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
