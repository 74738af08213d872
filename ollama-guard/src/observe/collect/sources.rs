//! Who sent what: merges what passed and what was refused, and says how much no source accounts for.
//!
//! There may be tens of thousands, and the daemon reads them at every scrape: nothing here allocates per source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ollama_guard_common::Fate;
use ollama_guard_common::abi::ServiceIndex;

use crate::clock;
use crate::datapath::{Reading, SourceReading, State};
use crate::links::Links;
use crate::observe::snapshot::{Snapshot, Source};

/// Fills the snapshot's sources.
pub(super) fn collect(snapshot: &mut Snapshot, reading: &mut Reading, state: &State, links: &Links) {
    let mut names = Names { state, links, interfaces: BTreeMap::new(), services: BTreeMap::new() };
    snapshot.unattributed_packets = reading.unattributed();
    let since = state.untracked_since.filter(|_| snapshot.unattributed_packets > 0);
    snapshot.unattributed_for = since.map(|since| clock::age(Duration::from_secs(since)));
    let read = std::mem::take(&mut reading.sources);
    let merged = read.chunk_by(|a, b| a.row() == b.row());
    let mut sources = Vec::with_capacity(merged.clone().count());
    sources.extend(merged.filter_map(|fates| merge(fates, &mut names)));
    drop(read); // as large as the rest
    snapshot.sources_tracked = sources.len() as u64;
    snapshot.sources = sources;
    snapshot.source_evictions = reading.gone_sources.saturating_sub(state.forgotten);
    snapshot.events_lost = reading.events_lost;
}

/// Each name once, however many sources share it.
struct Names<'a> {
    state: &'a State,
    links: &'a Links,
    interfaces: BTreeMap<u32, Arc<str>>,
    services: BTreeMap<ServiceIndex, Option<Arc<str>>>,
}

impl Names<'_> {
    /// A device that is gone has no name any more.
    fn interface(&mut self, index: u32) -> Arc<str> {
        let name = || self.links.get(index).map_or_else(|| "?".into(), |link| link.name.to_string().into());
        Arc::clone(self.interfaces.entry(index).or_insert_with(name))
    }

    fn service(&mut self, index: ServiceIndex) -> Option<Arc<str>> {
        let name = || self.state.services.name(index).map(|name| name.as_str().into());
        self.services.entry(index).or_insert_with(name).clone()
    }
}

/// One source from what is known of each of its fates.
fn merge(fates: &[SourceReading], names: &mut Names<'_>) -> Option<Source> {
    let first = fates.first()?;
    let mut source = Source {
        source: first.source,
        interface: names.interface(first.interface),
        service: names.service(first.service),
        packets: 0,
        bytes: 0,
        dropped_packets: 0,
        dropped_bytes: 0,
        would_drop_packets: 0,
        last_seen: first.last_seen,
    };
    for read in fates {
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
    Some(source)
}
