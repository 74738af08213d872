//! Who sent what: merges what passed and what was refused, and says how much no source accounts for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ollama_guard_common::Fate;

use crate::datapath::{Reading, State};
use crate::links::Links;
use crate::observe::snapshot::{Snapshot, Source};

/// Fills the snapshot's sources, the most dropped first.
pub(super) fn collect(snapshot: &mut Snapshot, reading: &Reading, state: &State, links: &Links) {
    let mut merged: BTreeMap<_, Source> = BTreeMap::new();
    for read in &reading.sources {
        let source = merged.entry((read.source, read.interface, read.service)).or_insert_with(|| Source {
            source: read.source,
            interface: links.get(read.interface).map_or_else(|| "?".to_owned(), |link| link.name.to_string()),
            service: state.services.name(read.service).map(ToString::to_string),
            packets: 0,
            bytes: 0,
            dropped_packets: 0,
            dropped_bytes: 0,
            would_drop_packets: 0,
            last_seen: read.last_seen,
        });
        source.packets += read.counter.packets;
        source.bytes += read.counter.bytes;
        match read.fate {
            Fate::Passed => {}
            Fate::Dropped => {
                source.dropped_packets += read.counter.packets;
                source.dropped_bytes += read.counter.bytes;
            }
            Fate::WouldDrop => source.would_drop_packets += read.counter.packets,
        }
        source.last_seen = source.last_seen.min(read.last_seen);
    }
    snapshot.sources_tracked = merged.len() as u64;
    snapshot.sources = merged.into_values().collect();
    snapshot.sources.sort_by_key(|source| (Reverse(source.dropped_packets), Reverse(source.packets), source.last_seen));
    snapshot.unattributed_packets = unattributed(reading);
}

/// Totals less sources. Sources were read first, so the difference is never negative on an interface that exists; the
/// sources of interfaces that are gone are left out.
fn unattributed(reading: &Reading) -> u64 {
    let totals = reading.interfaces.values().flat_map(|interface| interface.counters.values());
    let total: u64 = totals.map(|counter| counter.packets).sum();
    let present = reading.sources.iter().filter(|source| reading.interfaces.contains_key(&source.interface));
    let attributed: u64 = present.map(|source| source.counter.packets).sum();
    total.saturating_sub(attributed)
}
