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
