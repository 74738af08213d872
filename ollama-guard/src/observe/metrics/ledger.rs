//! Which sources have a series of their own, and what each series shows.
//!
//! The kernel's table of sources forgets: an entry makes room for another, comes back and starts at zero. A series must
//! not: Prometheus takes every decrease for a restart. So the ledger keeps what is shown apart from what was read.
//! Three things hold, whatever the kernel forgets (the properties below test them):
//!
//! - no series ever decreases, `other` included;
//! - the series of a (device, service) always sum up to its total, per fate;
//! - a source that was shown once stays, and never more than the limit are shown.
//!
//! A series starts at what its source is known to have sent while nothing of it was in `other` yet; if it may have been
//! part of `other`, at zero. Each reading pays sources what they sent since the last one, out of what the total grew by:
//! the table is read a moment before the totals, so a packet in between reaches `other` first, and what its source
//! has claimed for it is owed until the total grows again.
//!
//! A (device, service) starts anew, with all its series, if its device vanished or its own counter did. So does
//! everything when the daemon starts; with fewer sources than the limit, the series then go on where they were.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ollama_guard_common::Fate;

use super::cells::{Cell, Found, cells};
use crate::observe::snapshot::{Snapshot, Source};

/// Packets by [`Fate`].
pub(super) type Packets = [u64; 3];

/// The sources with series of their own.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    groups: BTreeMap<Cell, Group>,
}

/// One (device, service).
#[derive(Clone, Debug, Default)]
struct Group {
    /// A device that came back under the same name has another index.
    index: Option<u32>,
    totals: Packets,
    series: BTreeMap<IpAddr, Series>,
    /// Some source was read and not shown at the last reading: a newcomer may have been among those.
    hid: bool,
    /// The same, at this reading.
    hides: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Series {
    /// As read last time.
    before: Packets,
    /// As read now. Zero if the kernel has forgotten it: whatever it shows later is new.
    now: Packets,
    /// Sent, and not shown yet.
    owed: Packets,
    shown: Packets,
}

/// A line of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    pub(super) cell: &'a Cell,
    /// `None`: everybody else.
    pub(super) source: Option<IpAddr>,
    pub(super) packets: Packets,
}

/// A source without a series. The order is that of admission: clients first, then those with the most packets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Newcomer<'a> {
    stranger: bool,
    sent: Reverse<u64>,
    group: Labels<'a>,
    who: IpAddr,
    packets: Packets,
}

/// A [`Cell`], borrowed: there may be many sources.
type Labels<'a> = (&'a str, Option<&'a str>);
type Groups<'a> = BTreeMap<Labels<'a>, &'a mut Group>;

impl Ledger {
    /// Takes a reading in. At most `limit` sources are shown, over everything.
    pub fn update(&mut self, snapshot: &Snapshot, limit: usize) {
        let cells = cells(snapshot);
        self.groups.retain(|cell, group| cells.get(cell).is_some_and(|found| group.continues(found)));
        for (cell, found) in &cells {
            let group = self.groups.entry(cell.clone()).or_default();
            group.index = found.index;
            group.begin();
        }
        let used = self.len();
        let mut groups: Groups<'_> = self.groups.iter_mut().map(|(cell, group)| (cell.labels(), group)).collect();
        let newcomers = read(&mut groups, &snapshot.sources, used < limit);
        for group in groups.values_mut() {
            group.claim();
        }
        admit(&mut groups, newcomers, used, limit);
        for (cell, group) in &mut self.groups {
            group.pay(cells.get(cell).map_or(group.totals, |found| found.totals));
        }
    }

    /// What to export: per (device, service) its sources, then the rest.
    pub(super) fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        self.groups.iter().flat_map(|(cell, group)| {
            let one =
                move |(who, series): (&IpAddr, &Series)| Shown { cell, source: Some(*who), packets: series.shown };
            group.series.iter().map(one).chain([Shown { cell, source: None, packets: group.other() }])
        })
    }

    /// How many sources have series.
    pub(super) fn len(&self) -> usize {
        self.groups.values().map(|group| group.series.len()).sum()
    }
}

/// Notes what the kernel says of each source; returns those without a series, if there is `room` for any.
fn read<'a>(groups: &mut Groups<'a>, sources: &'a [Source], room: bool) -> Vec<Newcomer<'a>> {
    let mut newcomers = Vec::new();
    // Many in a row share their names: neighbours by address come in by the same interface.
    for sources in sources.chunk_by(|a, b| Arc::ptr_eq(&a.interface, &b.interface) && a.service == b.service) {
        let Some(first) = sources.first() else { continue };
        let labels = (&*first.interface, first.service.as_deref());
        // None: they came over an interface that is gone.
        let Some(group) = groups.get_mut(&labels) else { continue };
        for source in sources {
            let packets = packets(source);
            match group.series.get_mut(&source.source) {
                Some(series) => series.now = packets,
                None if room => newcomers.push(Newcomer {
                    stranger: packets[Fate::Passed as usize] == 0,
                    sent: Reverse(packets.iter().sum()),
                    group: labels,
                    who: source.source,
                    packets,
                }),
                None => group.hides = true,
            }
        }
    }
    newcomers
}

/// Gives newcomers series, as far as there is room.
fn admit<'a>(groups: &mut Groups<'a>, mut newcomers: Vec<Newcomer<'a>>, mut used: usize, limit: usize) {
    let room = limit.saturating_sub(used);
    if room < newcomers.len() {
        newcomers.select_nth_unstable(room);
        for hidden in newcomers.split_off(room).chunk_by(|a, b| a.group == b.group) {
            if let Some(group) = hidden.first().and_then(|first| groups.get_mut(&first.group)) {
                group.hides = true;
            }
        }
    }
    newcomers.sort_unstable();
    for Newcomer { stranger, sent, group, who, packets } in newcomers {
        let Some(group) = groups.get_mut(&group) else { continue };
        if sent.0 < price(stranger, used, limit) {
            group.hides = true;
            continue;
        }
        let owed = if group.hid { Packets::default() } else { packets };
        group.series.insert(who, Series { before: packets, now: packets, owed, shown: Packets::default() });
        used += 1;
    }
}

impl Group {
    /// Is this still the counter that was read last time?
    fn continues(&self, found: &Found) -> bool {
        self.index == found.index && self.totals.iter().zip(found.totals).all(|(before, now)| *before <= now)
    }

    fn begin(&mut self) {
        (self.hid, self.hides) = (self.hides, false);
        for series in self.series.values_mut() {
            (series.before, series.now) = (series.now, Packets::default());
        }
    }

    /// Notes what each source sent since the last reading.
    fn claim(&mut self) {
        for series in self.series.values_mut() {
            for ((owed, before), now) in series.owed.iter_mut().zip(series.before).zip(series.now) {
                // Less than before: forgotten, and back again since.
                *owed += now.checked_sub(before).unwrap_or(now);
            }
        }
    }

    /// Shows what is owed, as far as the totals grew; the rest of the growth is everybody else's.
    fn pay(&mut self, totals: Packets) {
        for (fate, total) in totals.iter().enumerate() {
            let mut growth = total.saturating_sub(self.totals[fate]);
            for series in self.series.values_mut() {
                let paid = series.owed[fate].min(growth);
                series.owed[fate] -= paid;
                series.shown[fate] += paid;
                growth -= paid;
            }
        }
        self.totals = totals;
    }

    fn other(&self) -> Packets {
        let mut other = self.totals;
        for series in self.series.values() {
            for (left, shown) in other.iter_mut().zip(series.shown) {
                *left -= shown;
            }
        }
        other
    }
}

/// Packets a newcomer must have sent. Addresses are free to a flood, and a series is for ever, so strangers take half
/// of the places at once, each sixteenth beyond that costs them twice as much, and a quarter is kept for clients.
fn price(stranger: bool, used: usize, limit: usize) -> u64 {
    let (free, strangers) = if stranger { (limit.div_ceil(2), limit - limit / 4) } else { (limit, limit) };
    if used >= strangers {
        return u64::MAX;
    }
    let steps = used.saturating_sub(free) / (limit / 16).max(1);
    u32::try_from(steps).ok().and_then(|steps| 1_u64.checked_shl(steps)).unwrap_or(u64::MAX)
}

fn packets(source: &Source) -> Packets {
    let mut packets = Packets::default();
    packets[Fate::Dropped as usize] = source.dropped_packets;
    packets[Fate::WouldDrop as usize] = source.would_drop_packets;
    packets[Fate::Passed as usize] =
        source.packets.saturating_sub(source.dropped_packets).saturating_sub(source.would_drop_packets);
    packets
}
