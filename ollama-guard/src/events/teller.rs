//! From entries of the ring to lines: once a packet, once a second and source, with names for numbers.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ollama_guard_common::{Fate, Protocol};
use tracing::warn;

use super::allowance::Allowance;
use super::event::{DropEvent, Line, Loser, Missed};
use super::log;
use super::merge::Merge;
use super::server::Sender;
use super::stays::{SILENCE, Stays};
use crate::datapath::{EventReading, EventRing};
use crate::plan::services::ServiceTable;

/// How often held lines are looked at while there are any.
const LOOK: Duration = Duration::from_millis(250);

/// What is known, and who is told.
pub(super) struct Teller {
    services: ServiceTable,
    readers: Option<Sender>,
    stays: Stays,
    merge: Merge,
    allowance: Allowance,
    /// Names of interfaces, for as long as there is something to look at.
    names: HashMap<u32, String>,
    /// When to ask the kernel of sources that fell silent.
    silence: Option<Instant>,
    /// Events that the kernel had lost at the last look.
    lost: u64,
}

impl Teller {
    pub(super) fn new(services: ServiceTable, readers: Option<Sender>) -> Self {
        Self {
            services,
            readers,
            stays: Stays::default(),
            merge: Merge::default(),
            allowance: Allowance::new(EventRing::now()),
            names: HashMap::new(),
            silence: None,
            lost: 0,
        }
    }

    pub(super) fn set_services(&mut self, services: ServiceTable) {
        self.services = services;
    }

    /// Takes up a ring. What was lost before, readers did not wait for.
    pub(super) fn begin(&mut self, ring: &EventRing) {
        self.lost = ring.rests().map_or(0, |(_, lost)| lost);
    }

    /// Takes an entry of the ring.
    pub(super) fn tell(&mut self, event: EventReading) {
        self.silence.get_or_insert_with(|| Instant::now() + SILENCE);
        if let Some(event) = self.stays.tell(event) {
            self.offer(event);
        }
    }

    /// When [`Self::look`] wants to be called; never while nothing happens.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let held = (!self.merge.is_empty() || !self.allowance.is_silent()).then(|| Instant::now() + LOOK);
        [held, self.silence].into_iter().flatten().min()
    }

    /// Says what time alone makes due.
    pub(super) fn look(&mut self, ring: &EventRing) {
        if self.silence.is_some_and(|silence| silence <= Instant::now()) {
            self.silence = None;
            self.ask(ring);
        }
        for event in self.merge.due(EventRing::now()) {
            self.say(&event);
        }
        if let Some(held_back) = self.allowance.summary(EventRing::now()) {
            log::held_back(held_back);
        }
        if self.next_look().is_none() {
            self.names.clear();
        }
    }

    fn ask(&mut self, ring: &EventRing) {
        let (rests, lost) = match ring.rests() {
            Ok(read) => read,
            Err(error) => return warn!("the last packets of sources are not logged: {error}"),
        };
        let (told, more) = self.stays.rest(&rests);
        if more {
            self.silence = Some(Instant::now() + LOOK);
        }
        for event in told {
            self.offer(event);
        }
        let before = std::mem::replace(&mut self.lost, lost);
        if let (Some(readers), count @ 1..) = (&self.readers, lost.saturating_sub(before)) {
            readers.send(&Line::Missed(Missed { count, by: Loser::Kernel }));
        }
    }

    fn offer(&mut self, event: EventReading) {
        if let Some(event) = self.merge.offer(event) {
            self.say(&event);
        }
    }

    fn say(&mut self, event: &EventReading) {
        let may_log = self.allowance.take(EventRing::now(), event.count);
        let reader = self.readers.as_ref().filter(|readers| readers.has_any()).cloned();
        if !may_log && reader.is_none() {
            return;
        }
        let event = self.name(event);
        if may_log {
            log::drop(&event);
        }
        if let Some(readers) = reader {
            readers.send(&Line::Drop(event));
        }
    }

    fn name(&mut self, event: &EventReading) -> DropEvent {
        let interface = self.names.entry(event.key.interface).or_insert_with_key(|&index| {
            nix::net::if_::if_indextoname(index)
                .map_or_else(|_| "?".to_owned(), |name| name.to_string_lossy().into_owned())
        });
        let age = EventRing::now().saturating_sub(event.at);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(age);
        DropEvent {
            // To the millisecond: the kernel's clock here is no finer.
            time: (time.as_secs_f64() * 1e3).round() / 1e3,
            source: event.key.source,
            destination: event.destination,
            port: event.port,
            protocol: event.protocol.map(|protocol| match protocol {
                Protocol::Tcp => "tcp".into(),
                Protocol::Udp => "udp".into(),
            }),
            interface: interface.clone(),
            service: self.services.name(event.key.service).map(ToString::to_string),
            reason: event.outcome.reason().as_str().into(),
            verdict: match event.key.fate {
                Fate::WouldDrop => Fate::WouldDrop.as_str().into(),
                Fate::Passed | Fate::Dropped => Fate::Dropped.as_str().into(),
            },
            count: event.count,
        }
    }
}
