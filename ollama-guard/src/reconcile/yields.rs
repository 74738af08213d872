//! Giving way to programs that want the place of our qdisc.
//!
//! An interface has room for one qdisc on its way in. A traffic shaper deletes what is there and adds its own; if ours were
//! back by then, the shaper would fail. So what was deleted stays away for a while, unless there is a qdisc to move into.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::datapath::{Attachment, DatapathError, Point, Wall};
use crate::links::Links;

/// Long enough for a person who types one command after another.
const PAUSE: Duration = Duration::from_mins(1);

/// Interfaces whose qdisc somebody deleted, by index, and when that was seen.
#[derive(Debug, Default)]
pub(super) struct Yields {
    since: BTreeMap<u32, Instant>,
}

impl Yields {
    /// Is the place of the qdisc to be left free?
    pub(super) fn gives_way(
        &mut self,
        wall: &Wall,
        interface: u32,
        attachments: &[Attachment],
    ) -> Result<bool, DatapathError> {
        let filtered = attachments.iter().any(|at| at.interface == interface && at.point == Point::Clsact);
        if filtered || !(self.since.contains_key(&interface) || wall.had_filter(interface)) {
            return Ok(false);
        }
        // Only the filter was deleted, or the place is taken: ours moves in.
        if wall.has_qdisc(interface)? {
            self.since.remove(&interface);
            return Ok(false);
        }
        let since = *self.since.entry(interface).or_insert_with(Instant::now);
        if since.elapsed() < PAUSE {
            return Ok(true);
        }
        self.since.remove(&interface);
        Ok(false)
    }

    /// Forgets interfaces that are gone.
    pub(super) fn forget_all_but(&mut self, links: &Links) {
        self.since.retain(|index, _| links.get(*index).is_some());
    }
}
