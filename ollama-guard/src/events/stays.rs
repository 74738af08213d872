//! Counts each packet once, whether an entry of the ring told of it or a look at what the kernel holds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::datapath::{EventReading, Rest};

/// What has been told of each source that the kernel watches. As many as the kernel has slots.
#[derive(Debug, Default)]
pub(super) struct Stays(BTreeMap<(u32, u16), Told>);

#[derive(Debug)]
struct Told {
    /// The newest entry.
    event: EventReading,
    /// Packets told of.
    seen: u64,
}

impl Stays {
    /// The entry with the packets that nobody was told of; none if there are none.
    pub(super) fn tell(&mut self, event: EventReading) -> Option<EventReading> {
        let slot = (event.stay.cpu, event.stay.slot);
        let before = self.0.get(&slot).filter(|told| told.event.stay == event.stay);
        let count = before.map_or(event.count, |told| event.seen.saturating_sub(told.seen));
        // The last entry of a stay does not say where its packets were going: as those before.
        let whole = match before {
            Some(told) if event.destination.is_none() => {
                let EventReading { outcome, destination, port, protocol, .. } = told.event;
                EventReading { outcome, destination, port, protocol, count, ..event }
            }
            _ => EventReading { count, ..event },
        };
        self.0.insert(slot, Told { event: whole, seen: event.seen });
        (count > 0).then_some(whole)
    }

    /// What sources that fell silent sent after their newest entry, and whether others may fall silent yet.
    pub(super) fn rest(&mut self, rests: &[Rest]) -> (Vec<EventReading>, bool) {
        let (mut told, mut more) = (Vec::new(), false);
        for rest in rests {
            let Some(before) = self.0.get_mut(&(rest.stay.cpu, rest.stay.slot)) else { continue };
            if before.event.stay != rest.stay || rest.seen <= before.seen {
                continue;
            }
            if rest.silent {
                let count = rest.seen - before.seen;
                before.seen = rest.seen;
                told.push(EventReading { count, seen: rest.seen, at: rest.at, ..before.event });
            } else {
                more = true;
            }
        }
        (told, more)
    }
}

/// How long after an entry a source that sent nothing more is silent; a little more than the kernel's second.
pub(super) const SILENCE: Duration = Duration::from_millis(1_050);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::sample::{event, rest};

    #[test]
    fn no_packet_counts_twice() {
        let mut stays = Stays::default();
        assert_eq!(stays.tell(event(1, 1, 1)).map(|event| event.count), Some(1));
        let (told, more) = stays.rest(&[rest(1, 10, false)]);
        assert!(told.is_empty() && more, "it may send more within the second");
        let (told, more) = stays.rest(&[rest(1, 10, true)]);
        assert_eq!((told[0].count, more), (9, false));
        assert_eq!(stays.rest(&[rest(1, 10, true)]), (Vec::new(), false));
        // The kernel does not know of the nine.
        assert_eq!(stays.tell(event(1, 12, 11)).map(|event| event.count), Some(2));
        assert_eq!(stays.tell(event(1, 12, 0)), None);
    }

    #[test]
    fn a_slot_that_another_got_begins_anew() {
        let mut stays = Stays::default();
        stays.tell(event(1, 5, 5));
        assert_eq!(stays.rest(&[rest(2, 9, true)]), (Vec::new(), false));
        assert_eq!(stays.tell(event(2, 3, 3)).map(|event| event.count), Some(3));
    }

    #[test]
    fn the_end_of_a_stay_is_told_like_what_came_before() {
        let mut stays = Stays::default();
        let first = event(1, 1, 1);
        stays.tell(first);
        let end = EventReading { destination: None, port: None, protocol: None, ..event(1, 4, 3) };
        let told = stays.tell(end).unwrap();
        assert_eq!((told.destination, told.port, told.count), (first.destination, first.port, 3));
    }
}
