//! The series of one (device, service).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ollama_guard_common::Fate;

use super::{Packets, price};
use crate::observe::metrics::cells::Found;

/// How long a source that sent one packet must have been idle before its series may go to another; one that sent 2ⁿ
/// keeps it n times longer besides.
const IDLE: Duration = Duration::from_mins(10);

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// A device that came back under the same name has another index.
    pub(super) index: Option<u32>,
    pub(super) totals: Packets,
    pub(super) series: BTreeMap<IpAddr, Series>,
    /// Series that were handed back: `other` holds what they show.
    pub(super) ended: BTreeMap<IpAddr, Series>,
    /// Somebody was refused a series at the last reading.
    pub(super) wanted: bool,
    /// Some source was read and not shown at the last reading: a newcomer may have been among those.
    hid: bool,
    /// Somebody was refused a series at this reading.
    refused: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Series {
    /// As read last time.
    pub(super) before: Packets,
    /// As read now. Zero if the kernel has forgotten it: whatever it shows later is new.
    pub(super) now: Packets,
    /// Sent, and not shown yet.
    pub(super) owed: Packets,
    pub(super) shown: Packets,
    /// When it last sent.
    pub(super) active: Duration,
}

impl Series {
    fn begin(&mut self) {
        (self.before, self.now) = (self.now, Packets::default());
    }

    /// Notes what was sent since the last reading. Less than before: forgotten, and back again since.
    fn claim(&mut self) {
        for ((owed, before), now) in self.owed.iter_mut().zip(self.before).zip(self.now) {
            *owed += now.checked_sub(before).unwrap_or(now);
        }
    }

    fn sent(&self) -> u64 {
        self.shown.iter().chain(&self.owed).sum()
    }

    /// Never let through, and silent for long enough.
    fn is_idle(&self, now: Duration) -> bool {
        let passed = self.shown[Fate::Passed as usize] + self.owed[Fate::Passed as usize];
        let patience = IDLE * (1 + self.sent().checked_ilog2().unwrap_or_default());
        passed == 0 && now.saturating_sub(self.active) >= patience
    }
}

impl Group {
    /// Is this still the counter that was read last time?
    pub(super) fn continues(&self, found: &Found) -> bool {
        self.index == found.index && self.totals.iter().zip(found.totals).all(|(before, now)| *before <= now)
    }

    pub(super) fn begin(&mut self) {
        self.wanted = std::mem::take(&mut self.refused);
        self.hid = self.wanted;
        self.series.values_mut().chain(self.ended.values_mut()).for_each(Series::begin);
    }

    /// Notes what the kernel says of a source; false if it never had a series.
    pub(super) fn note(&mut self, who: IpAddr, packets: Packets, active: Duration) -> bool {
        let known = self.series.get_mut(&who).or_else(|| self.ended.get_mut(&who));
        let Some(series) = known else { return false };
        series.now = packets;
        series.active = series.active.max(active);
        true
    }

    /// A source gets no series for now.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Gives a series to a source that never had one.
    pub(super) fn admit(&mut self, who: IpAddr, packets: Packets, active: Duration) {
        let owed = if self.hid { Packets::default() } else { packets };
        self.series.insert(who, Series { before: packets, now: packets, owed, shown: Packets::default(), active });
    }

    /// Notes what each source sent since the last reading.
    pub(super) fn claim(&mut self) {
        self.series.values_mut().chain(self.ended.values_mut()).for_each(Series::claim);
    }

    /// Ends the series of idle sources. From now on they are part of `other`.
    pub(super) fn hand_back(&mut self, now: Duration) {
        self.ended.extend(self.series.extract_if(.., |_, series| series.is_idle(now)));
    }

    /// Shows what is owed, as far as the totals grew; the rest of the growth, which is returned, is everybody else's.
    pub(super) fn pay(&mut self, totals: Packets) -> Packets {
        let mut growth = Packets::default();
        for (fate, total) in totals.iter().enumerate() {
            growth[fate] = total.saturating_sub(self.totals[fate]);
            for series in self.series.values_mut() {
                let paid = series.owed[fate].min(growth[fate]);
                series.owed[fate] -= paid;
                series.shown[fate] += paid;
                growth[fate] -= paid;
            }
        }
        self.totals = totals;
        growth
    }

    /// Gives sources that are back the series they had, where `other` has grown by enough to give up what they show.
    pub(super) fn give_again(&mut self, mut growth: Packets, used: &mut usize, limit: usize) {
        if growth == Packets::default() {
            return;
        }
        let is_back = |series: &Series| series.owed != Packets::default() && series.now != series.before;
        let back: Vec<IpAddr> = self.ended.iter().filter(|(_, series)| is_back(series)).map(|(who, _)| *who).collect();
        for who in back {
            let Some(series) = self.ended.get(&who).copied() else { continue };
            let stranger = series.owed[Fate::Passed as usize] == 0;
            if series.sent() < price(stranger, *used, limit) {
                self.refused = true;
            } else if series.shown.iter().zip(growth).all(|(shown, growth)| *shown <= growth) {
                growth.iter_mut().zip(series.shown).for_each(|(left, shown)| *left -= shown);
                self.ended.remove(&who);
                self.series.insert(who, series);
                *used += 1;
            }
        }
    }

    pub(super) fn other(&self) -> Packets {
        let mut other = self.totals;
        for series in self.series.values() {
            for (left, shown) in other.iter_mut().zip(series.shown) {
                *left -= shown;
            }
        }
        other
    }
}
