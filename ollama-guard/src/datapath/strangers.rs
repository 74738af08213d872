//! Sources of refused packets: what `strangers` holds, and what each CPU has yet to add to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use ollama_guard_common::Fate;
use ollama_guard_common::abi::{Counter, Pending, SourceCounters, SourceKey};

use super::counters::{SourceReading, sorted};
use super::shared::SharedMaps;

/// What was read of the sources of refused packets.
pub(super) struct Strangers {
    /// What each sent: the table's, sorted, then the others, sorted.
    pub(super) sources: Vec<SourceReading>,
    /// How many of them the table holds.
    pub(super) held: usize,
}

/// Reads both so that no packet counts twice and none that was reported disappears, although what is pending may move
/// into the table at any moment: between two looks at what is pending the table is asked again, and only what did
/// not move meanwhile is added.
pub(super) fn read(maps: &SharedMaps, now: Duration) -> io::Result<Strangers> {
    let sorted = sorted(&maps.strangers, now)?;
    let held = sorted.len();
    let mut sources = Sources { sorted, others: BTreeMap::new(), now };
    let before = pending(maps)?;
    for slot in &before {
        refresh(maps, &mut sources, &slot.key)?;
    }
    let after = pending(maps)?;
    let (stayed, moved): (Vec<_>, Vec<_>) = before.iter().zip(&after).partition(|(before, after)| {
        before.key == after.key && before.counters.counter.packets <= after.counters.counter.packets
    });
    for (slot, _) in moved {
        refresh(maps, &mut sources, &slot.key)?;
    }
    for (slot, _) in stayed {
        if slot.key.family != 0 {
            sources.add(&slot.key, &slot.counters);
        }
    }
    Ok(Strangers { sources: sources.all(), held })
}

/// The table's entries, where they were read to: a second place for so many would cost more than to read them.
struct Sources {
    sorted: Vec<SourceReading>,
    /// Those that it did not hold.
    others: BTreeMap<(u128, u64, Fate), SourceReading>,
    now: Duration,
}

impl Sources {
    fn set(&mut self, key: &SourceKey, counters: &SourceCounters) {
        let reading = SourceReading::new(key, counters, self.now);
        *self.of(reading) = reading;
    }

    fn add(&mut self, key: &SourceKey, more: &SourceCounters) {
        let more = SourceReading::new(key, more, self.now);
        let to = self.of(SourceReading { counter: Counter::default(), ..more });
        to.counter.packets += more.counter.packets;
        to.counter.bytes += more.counter.bytes;
        to.last_seen = to.last_seen.min(more.last_seen);
    }

    /// The place of this one, or this one in a new place.
    fn of(&mut self, reading: SourceReading) -> &mut SourceReading {
        match self.sorted.binary_search_by_key(&reading.place(), SourceReading::place) {
            Ok(at) => &mut self.sorted[at],
            Err(_) => self.others.entry(reading.place()).or_insert(reading),
        }
    }

    fn all(mut self) -> Vec<SourceReading> {
        self.sorted.extend(self.others.into_values());
        self.sorted
    }
}

/// Drops what is pending of sources on these interfaces. What other sources send in that instant may stay unattributed.
pub(super) fn forget(maps: &SharedMaps, interfaces: &BTreeSet<u32>) -> io::Result<()> {
    let is_gone = |slot: &Pending| slot.key.family != 0 && interfaces.contains(&slot.key.interface);
    if !pending(maps)?.iter().any(is_gone) {
        return Ok(());
    }
    maps.gate.change_per_cpu(&0, |gate| {
        for slot in gate.pending.iter_mut().filter(|slot| is_gone(slot)) {
            slot.key.family = 0;
        }
    })
}

/// Every slot of every CPU, in the same order each time; most are nobody's.
fn pending(maps: &SharedMaps) -> io::Result<Vec<Pending>> {
    let gates = maps.gate.get_per_cpu(&0)?.unwrap_or_default();
    Ok(gates.iter().flat_map(|gate| gate.pending).collect())
}

fn refresh(maps: &SharedMaps, sources: &mut Sources, key: &SourceKey) -> io::Result<()> {
    if key.family != 0
        && let Some(counters) = maps.strangers.get(key)?
    {
        sources.set(key, &counters);
    }
    Ok(())
}
