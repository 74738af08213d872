//! Since when there are packets that no tracked source accounts for. The kernel does not say when, so it is looked for now
//! and then until there is one.

use std::time::{Duration, Instant};

use crate::clock;
use crate::datapath::Wall;

/// Shortest time between two looks: each reads every source.
const PAUSE: Duration = Duration::from_secs(25);

#[derive(Debug)]
pub(super) struct Untracked {
    since: Option<u64>,
    looked: Option<Instant>,
}

impl Untracked {
    /// `since`: what an earlier daemon found.
    pub(super) const fn new(since: Option<u64>) -> Self {
        Self { since, looked: None }
    }

    /// Seconds after boot, by [`clock`]; `None` while every packet has a source.
    pub(super) fn since(&mut self, wall: Option<&Wall>) -> Option<u64> {
        let Some(wall) = wall else { return self.since };
        if self.since.is_none() && self.looked.is_none_or(|looked| looked.elapsed() >= PAUSE) {
            self.looked = Some(Instant::now());
            self.since = is_some(wall).then(|| clock::boot().as_secs());
        }
        self.since
    }
}

/// A packet that arrives between sources and totals is in the totals alone. Sources that are read after the totals have it.
fn is_some(wall: &Wall) -> bool {
    let Ok(first) = wall.reading() else { return false };
    first.unattributed() > 0 && wall.reading().is_ok_and(|second| first.total() > second.attributed())
}
