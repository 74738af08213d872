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

/// Interfaces whose qdisc somebody deleted, by index, and when that was last seen.
#[derive(Debug, Default)]
pub(super) struct Yields {
    since: BTreeMap<u32, Instant>,
}

/// The one place for a qdisc on an interface's way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Ours as much as anybody's.
    Ours,
    /// Somebody emptied it a moment ago, and may be about to take it.
    LeftFree,
    /// It is taken, and was emptied or changed a moment ago: our filter moves in, and makes no qdisc if this one goes as well.
    Theirs,
}

impl Yields {
    /// Whose the place is.
    pub(super) fn place(
        &mut self,
        wall: &Wall,
        interface: u32,
        attachments: &[Attachment],
    ) -> Result<Place, DatapathError> {
        let recent = self.since.get(&interface).is_some_and(|since| since.elapsed() < PAUSE);
        if !recent {
            self.since.remove(&interface);
        }
        let filtered = attachments.iter().any(|at| at.interface == interface && at.point == Point::Clsact);
        let lost = !filtered && wall.had_filter(interface);
        if lost {
            wall.forget_filter(interface)?;
            self.since.insert(interface, Instant::now());
        }
        Ok(match () {
            () if !recent && !lost => Place::Ours,
            () if filtered || wall.has_qdisc(interface)? => Place::Theirs,
            () => Place::LeftFree,
        })
    }

    /// Forgets interfaces that are gone.
    pub(super) fn forget_all_but(&mut self, links: &Links) {
        self.since.retain(|index, _| links.get(*index).is_some());
    }
}
