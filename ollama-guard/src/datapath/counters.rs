//! Reads the counters. Sources first, totals after: then "total less sum over sources" is never negative.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ollama_guard_common::abi::{Counter, InterfaceCounters, ServiceIndex, SourceCounters, SourceKey};
use ollama_guard_common::{Address, Fate, Outcome};

use super::DatapathError;
use super::map::Map;
use super::shared::SharedMaps;
use super::strangers;
use crate::clock;

/// Everything the kernel programs have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// By interface index.
    pub interfaces: BTreeMap<u32, InterfaceReading>,
    /// Per source, interface, service and fate. Those that differ in nothing but their fate lie side by side.
    pub sources: Vec<SourceReading>,
    /// Sources that are no longer in the tables: evicted by others, or removed with their interfaces. Under a flood a few
    /// less than there were.
    pub gone_sources: u64,
    /// Events that were due and not sent.
    pub events_lost: u64,
}

/// What was counted on one interface, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceReading {
    /// By service and outcome; zeroes left out.
    pub counters: BTreeMap<(ServiceIndex, Outcome), Counter>,
    /// The newest refused packet.
    pub last_drop: Option<LastDropReading>,
}

/// The newest refused packet of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDropReading {
    /// Its source, if it named one.
    pub source: Option<IpAddr>,
    /// How long ago.
    pub ago: Duration,
}

/// What one source sent to one service on one interface, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceReading {
    /// Who.
    pub source: IpAddr,
    /// Index of the interface.
    pub interface: u32,
    /// To which service.
    pub service: ServiceIndex,
    /// What became of it.
    pub fate: Fate,
    /// How much.
    pub counter: Counter,
    /// How long ago the newest came.
    pub last_seen: Duration,
}

impl SourceReading {
    /// From an entry of a table, read at this time.
    pub(super) fn new(key: &SourceKey, value: &SourceCounters, now: Duration) -> Self {
        Self {
            source: address(key.family, key.address).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            interface: key.interface,
            service: ServiceIndex::new(key.service),
            fate: fate(key.fate),
            counter: value.counter,
            last_seen: now.saturating_sub(Duration::from_nanos(value.last_seen)),
        }
    }

    /// Sender, interface and service. Numbers, because they are compared a million times.
    pub fn row(&self) -> (u128, u64) {
        let (address, family) = match self.source {
            IpAddr::V4(address) => (address.to_bits().into(), 4),
            IpAddr::V6(address) => (address.to_bits(), 6),
        };
        (address, u64::from(self.interface) << 16 | u64::from(self.service.get()) << 8 | family)
    }

    /// What tells it from all others, sorted by row.
    pub(super) fn place(&self) -> (u128, u64, Fate) {
        let (address, rest) = self.row();
        (address, rest, self.fate)
    }
}

/// Everything in a table of sources, sorted, once each.
pub(super) fn sorted(table: &Map<SourceKey, SourceCounters>, now: Duration) -> io::Result<Vec<SourceReading>> {
    let mut sources = Vec::new();
    table.each(|key, value| sources.push(SourceReading::new(key, value, now)))?;
    // What was read twice counts as it was read last.
    sources.sort_unstable_by_key(|source| (source.place(), Reverse(source.counter.packets)));
    sources.dedup_by_key(|source| source.place());
    Ok(sources)
}

impl Reading {
    /// Reads everything.
    pub(super) fn take(maps: &SharedMaps) -> Result<Self, DatapathError> {
        let now = clock::boot();
        // What was entered before what is there: what comes in between is not taken for gone.
        let gates = maps.gate.get_per_cpu(&0).map_err(DatapathError::map("read", "gate"))?.unwrap_or_default();
        let entered: u64 = gates.iter().map(|gate| gate.entered).sum();
        let mut clients = sorted(&maps.clients, now).map_err(DatapathError::map("read", "clients"))?;
        let strangers = strangers::read(maps, now).map_err(DatapathError::map("read", "strangers"))?;
        let held = clients.len() + strangers.held;
        let mut sources = strangers.sources;
        sources.append(&mut clients);
        sources.sort_by_key(SourceReading::place); // Each part is sorted: this merges them.
        let mut interfaces = BTreeMap::new();
        for (index, per_cpu) in maps.interfaces.all().map_err(DatapathError::map("read", "interfaces"))? {
            interfaces.insert(index, InterfaceReading::sum(&per_cpu, now));
        }
        for source in sources.iter().filter(|source| source.fate != Fate::Passed) {
            if let Some(interface) = interfaces.get_mut(&source.interface) {
                interface.refused(source);
            }
        }
        Ok(Self {
            interfaces,
            sources,
            gone_sources: entered.saturating_sub(held as u64),
            events_lost: gates.iter().map(|gate| gate.events_lost).sum(),
        })
    }
}

impl Reading {
    /// Packets that no source accounts for: totals less sources. Sources were read first, so the difference is never
    /// negative on an interface that exists; the sources of interfaces that are gone are left out.
    pub fn unattributed(&self) -> u64 {
        self.total().saturating_sub(self.attributed())
    }

    /// Packets counted on interfaces.
    pub fn total(&self) -> u64 {
        let counters = self.interfaces.values().flat_map(|interface| interface.counters.values());
        counters.map(|counter| counter.packets).sum()
    }

    /// Packets counted by source, on interfaces that exist.
    pub fn attributed(&self) -> u64 {
        let present = self.sources.iter().filter(|source| self.interfaces.contains_key(&source.interface));
        present.map(|source| source.counter.packets).sum()
    }
}

impl InterfaceReading {
    fn sum(per_cpu: &[InterfaceCounters], now: Duration) -> Self {
        let mut counters: BTreeMap<_, Counter> = BTreeMap::new();
        for service in 0..ServiceIndex::COUNT {
            let index = ServiceIndex::new(u8::try_from(service).unwrap_or(0));
            for outcome in Outcome::ALL {
                let mut sum = Counter::default();
                for cpu in per_cpu {
                    let counter = cpu.counters[service][outcome as usize];
                    sum.packets += counter.packets;
                    sum.bytes += counter.bytes;
                }
                if sum.packets > 0 {
                    counters.insert((index, outcome), sum);
                }
            }
        }
        let newest = per_cpu.iter().map(|cpu| cpu.last_drop).max_by_key(|last| last.at);
        let last_drop = newest.filter(|last| last.at > 0).map(|last| LastDropReading {
            source: address(last.family, last.source),
            ago: now.saturating_sub(Duration::from_nanos(last.at)),
        });
        Self { counters, last_drop }
    }

    /// The newest refused packet may be one of this source. The programs write it down only of sources that they do not know.
    fn refused(&mut self, source: &SourceReading) {
        if self.last_drop.is_none_or(|last| source.last_seen < last.ago) {
            self.last_drop = Some(LastDropReading { source: Some(source.source), ago: source.last_seen });
        }
    }

    /// The sum over every service and the outcomes of one fate.
    pub fn total(&self, fate: Fate) -> Counter {
        let of_fate = self.counters.iter().filter(|((_, outcome), _)| outcome.fate() == fate);
        of_fate.fold(Counter::default(), |sum, (_, counter)| Counter {
            packets: sum.packets + counter.packets,
            bytes: sum.bytes + counter.bytes,
        })
    }
}

pub(super) const fn fate(number: u8) -> Fate {
    match number {
        0 => Fate::Passed,
        1 => Fate::Dropped,
        _ => Fate::WouldDrop,
    }
}

pub(super) fn address(family: impl Into<u32>, words: [u32; 4]) -> Option<IpAddr> {
    Address { family: family.into(), words }.ip()
}
