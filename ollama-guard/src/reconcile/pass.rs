//! What a pass is given and what it found.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::derived::DerivedPort;
use crate::links::Links;
use crate::plan::class::{Placement, Placements};
use crate::policy::{InterfaceName, Policy};

/// What the plan depends on besides the policy: this host's interfaces and proxies.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its interfaces.
    pub links: &'a Links,
    /// What the policy makes of them.
    pub placements: &'a Placements,
    /// Ports that lead to guarded ones.
    pub derived: &'a [DerivedPort],
    /// Bridges on which a program stands.
    pub judged: &'a BTreeSet<InterfaceName>,
}

impl Host<'_> {
    /// The derived ports that may be guarded.
    pub(super) fn guarded(&self) -> impl Iterator<Item = &DerivedPort> {
        self.derived.iter().filter(|port| port.refused.is_none())
    }
}

/// What one pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Interfaces with a program of ours.
    pub attached: usize,
    /// Interfaces that should have one and have not.
    pub failed: usize,
    /// Some interface has a lesser hook, because a better one is taken just now.
    pub busy: bool,
    /// The class of some interface depends on what no event tells.
    pub unsettled: bool,
    /// Links, programs or tables that were changed.
    pub changed: usize,
    /// Why the eBPF layer as a whole is wanted and not in place.
    pub wall_failed: Option<String>,
    /// Why the nftables layer is wanted and not in place.
    pub seatbelt_failed: Option<String>,
    /// There is more to do, or somebody undoes what is done; try again after this time.
    pub retry: Option<Duration>,
}

impl Pass {
    /// All is as the policy wants it.
    pub const fn is_complete(&self) -> bool {
        self.failed == 0
            && !self.busy
            && !self.unsettled
            && self.wall_failed.is_none()
            && self.seatbelt_failed.is_none()
    }

    /// Why nothing at all is in place, if the policy wants something and none of it can be had.
    pub fn nothing(&self, policy: &Policy) -> Option<String> {
        let layers = policy.layers;
        let reasons: Vec<&str> =
            [&self.wall_failed, &self.seatbelt_failed].into_iter().flatten().map(String::as_str).collect();
        let wanted = usize::from(layers.wall) + usize::from(layers.seatbelt);
        (wanted > 0 && reasons.len() == wanted).then(|| reasons.join("; "))
    }
}

/// Interfaces that need a program, whatever their class and for however little.
pub(super) fn wants_program(placements: &Placements) -> BTreeSet<u32> {
    let attach = |placement: &Placement| matches!(placement, Placement::Attach(..) | Placement::Member { .. });
    placements.by_index.iter().filter(|(_, placement)| attach(placement)).map(|(index, _)| *index).collect()
}

/// Tells whether these are the interfaces that were dealt with. What does not matter to it, such as our own programs, is
/// left out.
pub fn fingerprint(links: &Links) -> u64 {
    let mut hasher = DefaultHasher::new();
    for link in links.iter() {
        (link.index, link.name.as_str(), link.up, link.master, link.lower).hash(&mut hasher);
    }
    hasher.finish()
}
