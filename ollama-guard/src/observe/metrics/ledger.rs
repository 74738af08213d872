//! Which sources have a series of their own, and what each series shows.
//!
//! The kernel's table of sources forgets: an entry makes room for another, comes back and starts at zero. A series must
//! not: Prometheus takes every decrease for a restart. So the ledger keeps what is shown apart from what was read.
//! Three things hold, whatever the kernel forgets (the properties below test them):
//!
//! - no series ever decreases, `other` included, also if it ends and comes back;
//! - the series of a (device, service) always sum up to its total, per fate;
//! - only one that was never let through and has fallen idle hands its series back, and only if others want one; never
//!   more than the limit are shown.
//!
//! A series starts at what its source is known to have sent while nothing of it was in `other` yet; if it may have been
//! part of `other`, at zero. Each reading pays sources what they sent since the last one, out of what the total grew by:
//! the table is read a moment before the totals, so a packet in between reaches `other` first, and what its source
//! has claimed for it is owed until the total grows again.
//!
//! A series that is handed back is `other`'s. Its source gets it again, from where it ended, once the total has grown by
//! that much between two readings: `other` gives it back without a decrease.
//!
//! A (device, service) starts anew, with all its series, if its device vanished or its own counter did. So does
//! everything when the daemon starts; with fewer sources than the limit, the series then go on where they were.

mod group;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ollama_guard_common::Fate;

use super::cells::{Cell, cells};
use crate::observe::snapshot::{Snapshot, Source};
use group::{Group, Series};

/// Packets by [`Fate`].
pub(super) type Packets = [u64; 3];

/// Ended series that are remembered. Of those that ended longest ago, half are forgotten at once.
const MOST_ENDED: usize = 1 << 16;

/// The sources with series of their own.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    groups: BTreeMap<Cell, Group>,
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
    /// When it last sent, by the clock of [`Ledger::update`].
    active: Duration,
}

/// A [`Cell`], borrowed: there may be many sources.
type Labels<'a> = (&'a str, Option<&'a str>);
type Groups<'a> = BTreeMap<Labels<'a>, &'a mut Group>;

impl Ledger {
    /// Takes in a reading made at `now`, by a clock that never goes back. At most `limit` sources are shown, over
    /// everything.
    pub fn update(&mut self, snapshot: &Snapshot, limit: usize, now: Duration) {
        let cells = cells(snapshot);
        self.groups.retain(|cell, group| cells.get(cell).is_some_and(|found| group.continues(found)));
        for (cell, found) in &cells {
            let group = self.groups.entry(cell.clone()).or_default();
            group.index = found.index;
            group.begin();
        }
        let pressed = self.groups.values().any(|group| group.wanted);
        let room = pressed || self.len() < limit;
        let mut groups: Groups<'_> = self.groups.iter_mut().map(|(cell, group)| (cell.labels(), group)).collect();
        let newcomers = read(&mut groups, &snapshot.sources, room, now);
        for group in groups.values_mut() {
            group.claim();
            if pressed {
                group.hand_back(now);
            }
        }
        let mut used = groups.values().map(|group| group.series.len()).sum();
        admit(&mut groups, newcomers, &mut used, limit);
        for (cell, group) in &mut self.groups {
            let growth = group.pay(cells.get(cell).map_or(group.totals, |found| found.totals));
            group.give_again(growth, &mut used, limit);
        }
        self.forget();
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

    /// Bounds the memory of ended series.
    fn forget(&mut self) {
        if self.groups.values().map(|group| group.ended.len()).sum::<usize>() <= MOST_ENDED {
            return;
        }
        let ended = self.groups.values().flat_map(|group| group.ended.values());
        let mut times: Vec<Duration> = ended.map(|series| series.active).collect();
        let half = times.len() / 2;
        let (_, &mut middle, _) = times.select_nth_unstable(half);
        for group in self.groups.values_mut() {
            group.ended.retain(|_, series| series.active > middle);
        }
    }
}

/// Notes what the kernel says of each source; returns those without a series, if there is `room` for any.
fn read<'a>(groups: &mut Groups<'a>, sources: &'a [Source], room: bool, now: Duration) -> Vec<Newcomer<'a>> {
    let mut newcomers = Vec::new();
    // Many in a row share their names: neighbors by address come in by the same interface.
    for sources in sources.chunk_by(|a, b| Arc::ptr_eq(&a.interface, &b.interface) && a.service == b.service) {
        let Some(first) = sources.first() else { continue };
        let labels = (&*first.interface, first.service.as_deref());
        // None: they came over an interface that is gone.
        let Some(group) = groups.get_mut(&labels) else { continue };
        for source in sources {
            let packets = packets(source);
            let active = now.saturating_sub(source.last_seen);
            if group.note(source.source, packets, active) {
                continue;
            }
            if !room {
                group.refuse();
                continue;
            }
            newcomers.push(Newcomer {
                stranger: packets[Fate::Passed as usize] == 0,
                sent: Reverse(packets.iter().sum()),
                group: labels,
                who: source.source,
                packets,
                active,
            });
        }
    }
    newcomers
}

/// Gives newcomers series, as far as there is room.
fn admit<'a>(groups: &mut Groups<'a>, mut newcomers: Vec<Newcomer<'a>>, used: &mut usize, limit: usize) {
    let room = limit.saturating_sub(*used);
    if room < newcomers.len() {
        newcomers.select_nth_unstable(room);
        for hidden in newcomers.split_off(room).chunk_by(|a, b| a.group == b.group) {
            if let Some(group) = hidden.first().and_then(|first| groups.get_mut(&first.group)) {
                group.refuse();
            }
        }
    }
    newcomers.sort_unstable();
    for Newcomer { stranger, sent, group, who, packets, active } in newcomers {
        let Some(group) = groups.get_mut(&group) else { continue };
        if sent.0 < price(stranger, *used, limit) {
            group.refuse();
            continue;
        }
        group.admit(who, packets, active);
        *used += 1;
    }
}

/// Packets a newcomer must have sent. Addresses are free to a flood, so strangers take half of the places at once, each
/// sixteenth beyond that costs them twice as much, and a quarter is kept for clients.
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
