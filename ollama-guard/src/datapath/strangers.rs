//! Sources of refused packets: what `strangers` holds, and what each CPU has yet to add to it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ollama_guard_common::abi::{Pending, SourceCounters, SourceKey};

use super::shared::SharedMaps;

/// What was read of the sources of refused packets.
pub(super) struct Strangers {
    /// What each sent.
    pub(super) sources: Vec<(SourceKey, SourceCounters)>,
    /// How many of them the table holds.
    pub(super) held: usize,
}

/// Reads both so that no packet counts twice and none that was reported disappears, although what is pending may move
/// into the table at any moment: between two looks at what is pending the table is asked again, and only what did
/// not move meanwhile is added.
pub(super) fn read(maps: &SharedMaps) -> io::Result<Strangers> {
    let mut sources = Sources::new(maps.strangers.entries()?);
    let held = sources.sorted.len();
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
            add(sources.of(&slot.key), &slot.counters);
        }
    }
    Ok(Strangers { sources: sources.all(), held })
}

/// The table's entries, where they were read to: a second place for so many would cost more than to read them.
struct Sources {
    sorted: Vec<(SourceKey, SourceCounters)>,
    /// Those that it did not hold.
    others: BTreeMap<SourceKey, SourceCounters>,
}

impl Sources {
    /// What was read twice counts as it was read last.
    fn new(mut read: Vec<(SourceKey, SourceCounters)>) -> Self {
        read.sort_unstable_by_key(|(key, counters)| (*key, Reverse(counters.counter.packets)));
        read.dedup_by_key(|(key, _)| *key);
        Self { sorted: read, others: BTreeMap::new() }
    }

    fn of(&mut self, key: &SourceKey) -> &mut SourceCounters {
        match self.sorted.binary_search_by_key(key, |(key, _)| *key) {
            Ok(at) => &mut self.sorted[at].1,
            Err(_) => self.others.entry(*key).or_default(),
        }
    }

    fn all(mut self) -> Vec<(SourceKey, SourceCounters)> {
        self.sorted.extend(self.others);
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
        *sources.of(key) = counters;
    }
    Ok(())
}

fn add(to: &mut SourceCounters, more: &SourceCounters) {
    to.counter.packets += more.counter.packets;
    to.counter.bytes += more.counter.bytes;
    to.last_seen = to.last_seen.max(more.last_seen);
}
