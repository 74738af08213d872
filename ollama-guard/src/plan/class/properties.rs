//! What holds for any set of interfaces, however odd.

use proptest::prelude::*;

use super::*;
use crate::plan::fixture;

proptest! {
    #[test]
    fn no_interface_is_left_unjudged(links in fixture::any_links()) {
        let policy = fixture::policy();
        let placements = Placements::new(&policy, &links);
        for link in links.iter() {
            match placements.get(link.index) {
                Some(Placement::Attach(class, _)) => {
                    let patterns = policy.trusted.iter().chain(&policy.containers);
                    let matched = patterns.filter(|pattern| pattern.matches(&link.name)).count() > 0;
                    let earned = *class == Class::Container && link.forwards;
                    prop_assert!(matched || link.kind == Kind::Loopback || earned || *class == Class::Guarded);
                }
                Some(Placement::LeftToMaster(master) | Placement::Member { master, .. }) => {
                    prop_assert_eq!(link.master, Some(*master));
                    let taker = last_master(&links, &placements, *master);
                    prop_assert!(taker.is_some(), "{} is left to nobody", link.name);
                }
                Some(Placement::Waiting(_)) => prop_assert!(link.kind.may_move_away() && !link.up),
                Some(Placement::NotCounted(_)) => {
                    prop_assert!(matches!(link.kind, Kind::Loopback | Kind::Vrf));
                }
                None => prop_assert!(false, "{} has no placement", link.name),
            }
        }
    }

    /// Whatever it is called, and whatever else is on it.
    #[test]
    fn nothing_with_an_uplink_or_a_foreign_port_is_a_container(links in fixture::any_links()) {
        let placements = Placements::new(&fixture::policy(), &links);
        let uplink = [Use::DefaultRoute, Use::Router, Use::LeasedAddress, Use::Unknown];
        for link in links.iter() {
            let Some(Placement::Attach(Class::Container, _)) = placements.get(link.index) else { continue };
            for port in joined(&links, link.index) {
                let port = links.get(port).unwrap();
                prop_assert!(!uplink.iter().any(|what| port.uses.contains(what)), "{} has {port:?}", link.name);
                let harmless = match port.kind {
                    Kind::Bridge | Kind::Dummy => true,
                    Kind::Veth => !port.up || port.elsewhere.is_none_or(|there| there.inside || there.id < 0),
                    Kind::Tap => !port.up || port.virtio,
                    _ => false,
                };
                prop_assert!(harmless, "{} has {port:?}", link.name);
            }
        }
    }

    /// The mirror is told of each, or it would judge by the name.
    #[test]
    fn the_mirror_s_names_say_the_same(links in fixture::any_links()) {
        let policy = fixture::policy();
        let placements = Placements::new(&policy, &links);
        for link in links.iter().filter(|link| links.iter().all(|other| other == *link || other.name != link.name)) {
            let Some(Placement::Attach(class, _)) = placements.get(link.index) else { continue };
            let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(&link.name));
            let named = any(&policy.containers) || placements.further_containers.contains(&link.name);
            let mirrored = named && !placements.refused_containers.contains(&link.name) && !any(&policy.trusted);
            prop_assert_eq!(mirrored, *class == Class::Container, "{:?}", link);
        }
    }

    #[test]
    fn an_odd_name_is_never_trusted(links in fixture::any_links()) {
        let odd = links.iter().cloned().map(|mut link| {
            link.raw_name = Some(b"\xff".as_slice().into());
            link
        });
        let placements = Placements::new(&fixture::policy(), &odd.collect());
        for placement in placements.by_index.values() {
            let opened = matches!(placement, Placement::Attach(Class::Trusted | Class::Container, _));
            prop_assert!(!opened, "{:?}", placement);
        }
    }
}

/// All that one reaches from port to port, found step by step.
fn joined(links: &Links, from: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::from([from]);
    loop {
        let next: Vec<u32> = (links.iter())
            .flat_map(|link| {
                let master = link.master.filter(|master| links.get(*master).is_some_and(|m| m.kind.gathers()));
                let beside = link
                    .lower
                    .filter(|lower| (link.kind.is_pair() || link.kind.shares_lower()) && links.get(*lower).is_some());
                master.into_iter().chain(beside).map(|other| [link.index, other])
            })
            .filter(|pair| pair.iter().any(|one| all.contains(one)) && pair.iter().any(|one| !all.contains(one)))
            .flatten()
            .collect();
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

/// Who judges in the end: an attached master, at the top of a finite chain of masters that all gather.
fn last_master(links: &Links, placements: &Placements, mut index: u32) -> Option<u32> {
    for _ in 0..=links.len() {
        if !links.get(index)?.kind.gathers() {
            return None;
        }
        match placements.get(index)? {
            Placement::LeftToMaster(next) | Placement::Member { master: next, .. } => index = *next,
            Placement::Attach(..) => return Some(index),
            Placement::Waiting(_) | Placement::NotCounted(_) => return None,
        }
    }
    None
}
