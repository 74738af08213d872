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
                    prop_assert!(matched || link.kind == Kind::Loopback || *class == Class::Guarded);
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
