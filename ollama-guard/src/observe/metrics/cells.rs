//! What each (device, service) counted, zeroes included.
//!
//! A series that appears with its first packet hides that packet: Prometheus sees an increase only between two values.
//! So every service in force has a series on every device with a program, from the beginning.

use std::collections::BTreeMap;

use ollama_guard_common::{Fate, Outcome};

use super::ledger::Packets;
use crate::class::Class;
use crate::observe::snapshot::{Attachment, Count, Counter, Interface, Snapshot};
use crate::policy::Mode;

/// The labels `device` and `service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) device: String,
    /// `None` where the port could not be read.
    pub(super) service: Option<String>,
}

/// What was counted there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) index: Option<u32>,
    pub(super) class: Class,
    pub(super) by_fate: BTreeMap<Fate, Count>,
    /// Dropped packets, by reason.
    pub(super) drops: BTreeMap<&'static str, u64>,
    /// Packets.
    pub(super) totals: Packets,
}

/// Every cell of a snapshot.
pub(super) type Cells = BTreeMap<Cell, Found>;

impl Cell {
    pub(super) fn labels(&self) -> (&str, Option<&str>) {
        (&self.device, self.service.as_deref())
    }
}

/// What a snapshot says of each cell.
pub(super) fn cells(snapshot: &Snapshot) -> Cells {
    let mut cells = Cells::new();
    for interface in &snapshot.interfaces {
        if matches!(interface.attachment, Attachment::Attached { .. }) {
            for service in &snapshot.services {
                let found = cells.entry(cell(interface, Some(service.name.as_str())));
                expect(found.or_insert_with(|| found_on(interface)), interface.class, snapshot.mode);
            }
        }
        for counter in &interface.counters {
            let found = cells.entry(cell(interface, counter.service.as_deref()));
            add(found.or_insert_with(|| found_on(interface)), counter);
        }
    }
    cells
}

fn add(found: &mut Found, counter: &Counter) {
    let fate = counter.outcome.fate();
    let count = found.by_fate.entry(fate).or_default();
    count.packets += counter.packets;
    count.bytes += counter.bytes;
    found.totals[fate as usize] += counter.packets;
    if fate == Fate::Dropped {
        *found.drops.entry(counter.outcome.reason().as_str()).or_default() += counter.packets;
    }
}

fn cell(interface: &Interface, service: Option<&str>) -> Cell {
    Cell { device: interface.name.clone(), service: service.map(str::to_owned) }
}

fn found_on(interface: &Interface) -> Found {
    Found {
        index: interface.index,
        class: interface.class,
        by_fate: BTreeMap::new(),
        drops: BTreeMap::new(),
        totals: Packets::default(),
    }
}

/// Zeroes for what can happen on an interface of this class.
fn expect(found: &mut Found, class: Class, mode: Mode) {
    found.by_fate.entry(Fate::Passed).or_default();
    if class == Class::Trusted {
        return;
    }
    match mode {
        Mode::Enforce => {
            found.by_fate.entry(Fate::Dropped).or_default();
            found.drops.entry(Outcome::DroppedUntrusted.reason().as_str()).or_default();
        }
        Mode::Observe => {
            found.by_fate.entry(Fate::WouldDrop).or_default();
        }
    }
}
