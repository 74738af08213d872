//! The counters by interface: a seat in an array for most, a table for those whose seat another one has.

use std::io;

use ollama_guard_common::abi::{InterfaceCounters, SEATS};
use zerocopy::FromZeros;

use super::map::Map;

/// Both maps, as one table by interface index.
#[derive(Debug)]
pub(super) struct Interfaces {
    seats: Map<u32, InterfaceCounters>,
    unseated: Map<u32, InterfaceCounters>,
}

/// Where an interface counts.
enum Place {
    Seat(u32),
    Unseated,
}

impl Interfaces {
    /// Puts the two maps together.
    pub(super) fn new(seats: Map<u32, InterfaceCounters>, unseated: Map<u32, InterfaceCounters>) -> Self {
        Self { seats, unseated }
    }

    /// Sees to it that an interface has counters. To be called before a program is attached there.
    pub(super) fn ensure(&self, interface: u32) -> io::Result<()> {
        if self.find(interface)?.is_some() {
            return Ok(());
        }
        let seat = interface % SEATS;
        let fresh = InterfaceCounters { interface, ..InterfaceCounters::new_zeroed() };
        let (map, key) = if self.sitter(seat)? == 0 { (&self.seats, seat) } else { (&self.unseated, interface) };
        map.set_per_cpu(&key, &fresh)
    }

    /// Every interface's counters, one value per CPU.
    pub(super) fn all(&self) -> io::Result<Vec<(u32, Vec<InterfaceCounters>)>> {
        let mut all = Vec::new();
        for seat in 0..SEATS {
            let cpus = self.seats.get_per_cpu(&seat)?.unwrap_or_default();
            if let Some(interface) = cpus.first().map(|cpu| cpu.interface).filter(|&interface| interface != 0) {
                all.push((interface, cpus));
            }
        }
        for interface in self.unseated.keys()? {
            if let Some(cpus) = self.unseated.get_per_cpu(&interface)? {
                all.push((interface, cpus));
            }
        }
        Ok(all)
    }

    /// Changes the counters of every interface. What programs add meanwhile is lost.
    pub(super) fn change_all(&self, change: impl Fn(&mut InterfaceCounters)) -> io::Result<()> {
        for (interface, _) in self.all()? {
            match self.find(interface)? {
                Some(Place::Seat(seat)) => self.seats.change_per_cpu(&seat, &change)?,
                Some(Place::Unseated) => self.unseated.change_per_cpu(&interface, &change)?,
                None => (),
            }
        }
        Ok(())
    }

    /// Forgets an interface; no program counts there any more.
    pub(super) fn remove(&self, interface: u32) -> io::Result<()> {
        match self.find(interface)? {
            Some(Place::Seat(seat)) => self.seats.set_per_cpu(&seat, &InterfaceCounters::new_zeroed()),
            Some(Place::Unseated) => self.unseated.remove(&interface).map(drop),
            None => Ok(()),
        }
    }

    fn find(&self, interface: u32) -> io::Result<Option<Place>> {
        let seat = interface % SEATS;
        if self.sitter(seat)? == interface {
            return Ok(Some(Place::Seat(seat)));
        }
        Ok(self.unseated.get_per_cpu(&interface)?.map(|_| Place::Unseated))
    }

    /// Whose seat it is; 0: nobody's.
    fn sitter(&self, seat: u32) -> io::Result<u32> {
        Ok(self.seats.get_per_cpu(&seat)?.and_then(|cpus| cpus.first().map(|cpu| cpu.interface)).unwrap_or(0))
    }
}
