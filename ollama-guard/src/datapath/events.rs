//! The ring of events, and what it does not tell of sources that fell silent.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use aya::maps::{Map as AyaMap, MapData, RingBuf};
use ollama_guard_common::abi::{EVENT_INTERVAL, Event, Gate, PENDING_SLOTS, Pending, ServiceIndex, SourceKey};
use ollama_guard_common::{Fate, Outcome, Protocol};
use zerocopy::FromBytes;

use super::counters::{address, fate};
use super::map::Map;
use super::shared::EVENTS;
use super::{DatapathError, PinDirectory};
use crate::clock;

/// The consumer's end of the ring. It has one consumer: only the daemon opens it.
pub struct EventRing {
    ring: RingBuf<MapData>,
    gate: Map<u32, Gate>,
}

/// Who sent what where, and what became of it: events tell of each such source by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// Its address.
    pub source: IpAddr,
    /// Index of the interface.
    pub interface: u32,
    /// To which service.
    pub service: ServiceIndex,
    /// What became of it.
    pub fate: Fate,
}

/// A source's stay among those that a CPU watches closely. A slot holds one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stay {
    /// The CPU.
    pub cpu: u32,
    /// Which of its slots.
    pub slot: u16,
    /// Distinguishes those that had the slot.
    pub number: u64,
}

/// One entry of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventReading {
    /// Of whom.
    pub key: EventKey,
    /// The verdict with its reason.
    pub outcome: Outcome,
    /// Where the packet was going; none if it said so only in part, and for what was left to tell when a source's stay
    /// ended.
    pub destination: Option<IpAddr>,
    /// Destination port, if it can be read.
    pub port: Option<u16>,
    /// Transport protocol, if it is known.
    pub protocol: Option<Protocol>,
    /// When, by `CLOCK_BOOTTIME`.
    pub at: Duration,
    /// The stay.
    pub stay: Stay,
    /// Packets during the stay.
    pub seen: u64,
    /// Of these, packets that no entry told of before.
    pub count: u64,
}

/// A source that fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The stay.
    pub stay: Stay,
    /// Packets during it.
    pub seen: u64,
    /// When the newest came, by `CLOCK_BOOTTIME`.
    pub at: Duration,
    /// A second has passed since an entry of it was due: whatever comes next will make one.
    pub silent: bool,
}

impl EventRing {
    /// Opens the ring; `None` if it has not been made.
    pub fn open(pins: &PinDirectory) -> Result<Option<Self>, DatapathError> {
        let path = pins.map(EVENTS);
        if !path.exists() {
            return Ok(None);
        }
        let failed = |error| DatapathError::map("open", EVENTS)(io::Error::other(error));
        let ring = MapData::from_pin(&path).and_then(|data| RingBuf::try_from(AyaMap::RingBuf(data)));
        let gate = Map::open(&pins.map("gate")).map_err(DatapathError::map("open", "gate"))?;
        Ok(Some(Self { ring: ring.map_err(failed)?, gate }))
    }

    /// The oldest entry. Reading on until there is none is what makes the descriptor wait again.
    pub fn read(&mut self) -> Option<EventReading> {
        loop {
            let entry = self.ring.next()?;
            // The kernel rounds an entry's length up; one of another length is none of ours.
            if let Some(reading) = Event::read_from_prefix(&entry).ok().and_then(|(event, _)| EventReading::new(&event))
            {
                return Some(reading);
            }
        }
    }

    /// What each CPU has counted of those it watches, and how many events were lost in all.
    pub fn rests(&self) -> Result<(Vec<Rest>, u64), DatapathError> {
        let gates = || self.gate.get_per_cpu(&0).map_err(DatapathError::map("read", "gate"));
        // Programs write meanwhile. What two looks agree on is whole.
        let (before, after) = (gates()?.unwrap_or_default(), gates()?.unwrap_or_default());
        let now = clock::boot();
        let mut rests = Vec::new();
        for ((cpu, before), after) in (0..).zip(&before).zip(&after) {
            let slots = (0..).zip(before.pending.iter().zip(&after.pending));
            let settled = slots.filter(|(_, (before, after))| before == after && after.key.family != 0);
            rests.extend(settled.map(|(slot, (_, pending))| Rest::new(cpu, slot, pending, now)));
        }
        Ok((rests, after.iter().map(|gate| gate.events_lost).sum()))
    }

    /// The clock of readings.
    pub fn now() -> Duration {
        clock::boot()
    }
}

impl fmt::Debug for EventRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRing").finish_non_exhaustive()
    }
}

impl AsFd for EventRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// tokio's `AsyncFd` wants both.
impl AsRawFd for EventRing {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Rest {
    fn new(cpu: u32, slot: u16, pending: &Pending, now: Duration) -> Self {
        let due = Duration::from_nanos(pending.event_due.saturating_add(EVENT_INTERVAL));
        Self {
            stay: Stay { cpu, slot, number: pending.stay },
            seen: pending.counters.counter.packets,
            at: Duration::from_nanos(pending.counters.last_seen),
            silent: now >= due,
        }
    }
}

impl EventReading {
    /// Most slots of a CPU.
    pub const SLOTS: usize = PENDING_SLOTS;

    fn new(event: &Event) -> Option<Self> {
        let destination = address(event.destination_family, event.destination);
        Some(Self {
            key: EventKey::new(&event.key)?,
            outcome: *Outcome::ALL.get(usize::from(event.outcome))?,
            destination,
            port: (event.port != 0).then_some(event.port),
            protocol: [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.number() == event.protocol),
            at: Duration::from_nanos(event.at),
            stay: Stay { cpu: event.cpu, slot: event.slot, number: event.stay },
            seen: event.seen,
            count: event.count,
        })
    }
}

impl EventKey {
    fn new(key: &SourceKey) -> Option<Self> {
        Some(Self {
            source: address(key.family, key.address)?,
            interface: key.interface,
            service: ServiceIndex::new(key.service),
            fate: fate(key.fate),
        })
    }
}
