//! At most one line a second about each source, whichever CPUs its packets met.

use std::collections::HashMap;
use std::time::Duration;

use crate::datapath::{EventKey, EventReading};

/// Shortest time between two lines about a source.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sources remembered. Beyond, lines about those that are new are not held back.
const MOST: usize = 8192;

/// Whom lines were about lately, and what is to be said of them next.
#[derive(Debug, Default)]
pub(super) struct Merge(HashMap<EventKey, Recent>);

#[derive(Debug)]
struct Recent {
    /// Of the packet that the newest line was about, by `CLOCK_BOOTTIME`.
    at: Duration,
    /// The next line, gathering.
    held: Option<EventReading>,
}

impl Merge {
    /// The line to be said at once, if it is one.
    pub(super) fn offer(&mut self, event: EventReading) -> Option<EventReading> {
        let full = self.0.len() >= MOST;
        let Some(recent) = self.0.get_mut(&event.key) else {
            if !full {
                self.0.insert(event.key, Recent { at: event.at, held: None });
            }
            return Some(event);
        };
        let count = event.count + recent.held.take().map_or(0, |held| held.count);
        let event = EventReading { count, ..event };
        if event.at.saturating_sub(recent.at) >= INTERVAL {
            recent.at = event.at;
            return Some(event);
        }
        recent.held = Some(event);
        None
    }

    /// Lines whose second is over; forgets sources of whom there is nothing to say.
    pub(super) fn due(&mut self, now: Duration) -> Vec<EventReading> {
        let mut due = Vec::new();
        self.0.retain(|_, recent| {
            if now.saturating_sub(recent.at) < INTERVAL {
                return true;
            }
            recent.at = now;
            let held = recent.held.take();
            due.extend(held);
            held.is_some()
        });
        due.sort_by_key(|event| event.at);
        due
    }

    /// Is there anything to say later, or to forget?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::sample::event;

    fn at(millis: u64, count: u64) -> EventReading {
        EventReading { at: Duration::from_millis(millis), ..event(1, count, count) }
    }

    #[test]
    fn the_first_at_once_the_others_in_their_second() {
        let mut merge = Merge::default();
        assert_eq!(merge.offer(at(10_000, 1)), Some(at(10_000, 1)));
        assert_eq!(merge.offer(at(10_100, 4)), None);
        assert_eq!(merge.offer(at(10_900, 5)), None);
        assert_eq!(merge.due(Duration::from_millis(10_999)), []);
        let due = merge.due(Duration::from_secs(11));
        assert_eq!(due.iter().map(|event| event.count).collect::<Vec<_>>(), [9]);
        assert_eq!(merge.offer(at(11_100, 1)), None, "that line was just now");
        assert_eq!(merge.offer(at(12_100, 2)).map(|event| event.count), Some(3));
        assert!(merge.due(Duration::from_secs(20)).is_empty() && merge.is_empty());
    }

    #[test]
    fn nothing_is_lost_when_there_are_too_many() {
        let mut merge = Merge::default();
        let mut said = 0;
        for nth in 0..20_000_u32 {
            let key = EventKey { source: std::net::Ipv4Addr::from_bits(nth).into(), ..at(1, 1).key };
            said += merge.offer(EventReading { key, ..at(1_000, 1) }).map_or(0, |event| event.count);
        }
        assert_eq!((said, merge.0.len()), (20_000, MOST));
    }
}
