//! The maps that every program instance shares and that outlive this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ollama_guard_common::abi::{Gate, STATE_SIZE, SourceCounters, SourceKey};

use super::interfaces::Interfaces;
use super::map::Map;
use super::{DatapathError, PinDirectory, sys};

/// Names of the shared maps, as in the kernel object.
pub(super) const NAMES: [&str; 8] =
    ["interfaces", "interfaces_unseated", "strangers", "clients", "began", "gate", "state", EVENTS];

/// The ring of events, which only the daemon reads: see [`super::EventRing`].
pub(super) const EVENTS: &str = "events";

/// The shared maps, opened by their pins.
#[derive(Debug)]
pub(super) struct SharedMaps {
    /// Counters by interface, per CPU.
    pub(super) interfaces: Interfaces,
    /// Sources of refused packets.
    pub(super) strangers: Map<SourceKey, SourceCounters>,
    /// Sources of passed packets.
    pub(super) clients: Map<SourceKey, SourceCounters>,
    /// What each CPU has yet to add to `strangers`.
    pub(super) gate: Map<u32, Gate>,
    /// Word for `status`.
    pub(super) state: Map<u32, [u8; STATE_SIZE]>,
    /// Every one of [`NAMES`], to pin it again.
    all: Vec<(&'static str, OwnedFd)>,
}

impl SharedMaps {
    /// Are all of them there?
    pub(super) fn are_pinned(pins: &PinDirectory) -> bool {
        NAMES.iter().all(|name| pins.map(name).exists())
    }

    /// Opens what an earlier load pinned; checks each map's layout.
    pub(super) fn open(pins: &PinDirectory) -> Result<Self, DatapathError> {
        fn one<K, V>(pins: &PinDirectory, name: &'static str) -> Result<Map<K, V>, DatapathError>
        where
            K: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy,
            V: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy,
        {
            Map::open(&pins.map(name)).map_err(DatapathError::map("open", name))
        }
        let any = |name| {
            let opened = sys::open_pin(&pins.map(name)).map_err(DatapathError::map("open", name));
            opened.map(|fd| (name, fd))
        };
        Ok(Self {
            interfaces: Interfaces::new(one(pins, "interfaces")?, one(pins, "interfaces_unseated")?),
            strangers: one(pins, "strangers")?,
            clients: one(pins, "clients")?,
            gate: one(pins, "gate")?,
            state: one(pins, "state")?,
            all: NAMES.into_iter().map(any).collect::<Result<_, _>>()?,
        })
    }

    /// Every one of them by its name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.all.iter().map(|(name, fd)| (*name, fd.as_fd()))
    }
}
