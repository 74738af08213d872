//! Which index stands for which service in the kernel's counters.

use ollama_guard_common::abi::{MAX_SERVICES, ServiceIndex, ServiceSet};
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, ServiceName};

/// Names by index. A service keeps its index across reloads and restarts, so its counters go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTable {
    /// Entry `i` names index `i + 1`; `None` was never used.
    names: [Option<ServiceName>; MAX_SERVICES],
}

/// An index that passed from one service to another: its counters start at zero again.
pub type Recycled = Vec<ServiceIndex>;

impl ServiceTable {
    /// The table for a policy, given the one before: known names stay, new ones take an unused index, or one whose
    /// service is gone.
    pub fn update(&self, policy: &Policy) -> (Self, Recycled) {
        let mut names = self.names.clone();
        let mut recycled = Vec::new();
        for service in &policy.services {
            if names.iter().flatten().any(|name| *name == service.name) {
                continue;
            }
            let wanted = |name: &ServiceName| policy.services.iter().any(|service| service.name == *name);
            let unused = names.iter().position(Option::is_none);
            let Some(slot) = unused.or_else(|| names.iter().position(|name| !name.as_ref().is_some_and(wanted))) else {
                continue; // a policy holds no more services than there are indices
            };
            if names[slot].replace(service.name.clone()).is_some() {
                recycled.push(index_of(slot));
            }
        }
        (Self { names }, recycled)
    }

    /// The index of a service; unknown names have [`ServiceIndex::UNKNOWN`].
    pub fn index(&self, name: &ServiceName) -> ServiceIndex {
        let slot = self.names.iter().position(|known| known.as_ref() == Some(name));
        slot.map_or(ServiceIndex::UNKNOWN, index_of)
    }

    /// The name behind an index.
    pub fn name(&self, index: ServiceIndex) -> Option<&ServiceName> {
        self.names.get(usize::from(index.get()).checked_sub(1)?)?.as_ref()
    }

    /// Every service, whatever its index.
    pub fn all(&self) -> ServiceSet {
        ServiceSet::from(u16::MAX) & !ServiceIndex::UNKNOWN.bit()
    }
}

fn index_of(slot: usize) -> ServiceIndex {
    ServiceIndex::new(u8::try_from(slot + 1).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU16;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::fixture;
    use crate::policy::{Protocol, Service};

    fn policy(names: &[u8]) -> Policy {
        let service = |name: &u8| Service {
            name: format!("s{name}").parse().unwrap(),
            ports: NonZeroU16::new(u16::from(*name) + 1).into_iter().collect(),
            protocols: [Protocol::Tcp].into(),
            insist: false,
        };
        Policy { services: names.iter().map(service).collect(), ..fixture::policy() }
    }

    proptest! {
        /// Over any number of reloads.
        #[test]
        fn a_service_keeps_its_index_while_it_is_in_the_policy(
            reloads in prop::collection::vec(prop::sample::subsequence((0..20).collect::<Vec<u8>>(), 1..=MAX_SERVICES), 1..20),
        ) {
            let (mut table, mut before) = (ServiceTable::default(), BTreeMap::new());
            for names in reloads {
                let policy = policy(&names);
                let (next, recycled) = table.update(&policy);
                let now: BTreeMap<_, _> = policy.services.iter().map(|one| (&one.name, next.index(&one.name))).collect();
                for (name, index) in now.clone() {
                    prop_assert!(index != ServiceIndex::UNKNOWN && next.all() & index.bit() != 0);
                    prop_assert_eq!(next.name(index), Some(name));
                    prop_assert!(before.get(name).is_none_or(|known| *known == index), "{} moved", name);
                    // What the index counted before belongs to another.
                    let passed_on = table.name(index).is_some_and(|old| old != name);
                    prop_assert_eq!(recycled.contains(&index), passed_on);
                }
                prop_assert!(recycled.iter().all(|index| now.values().any(|used| used == index)));
                before = now.into_iter().map(|(name, index)| (name.clone(), index)).collect();
                table = next;
            }
            prop_assert_eq!(table.name(ServiceIndex::UNKNOWN), None);
            prop_assert_eq!(table.index(&"stranger".parse().unwrap()), ServiceIndex::UNKNOWN);
        }
    }
}
