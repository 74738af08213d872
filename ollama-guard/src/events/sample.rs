//! An event and a rest, for tests.

use std::time::Duration;

use ollama_guard_common::abi::ServiceIndex;
use ollama_guard_common::{Fate, Outcome, Protocol};

use crate::datapath::{EventKey, EventReading, Rest, Stay};

pub(super) fn event(number: u64, seen: u64, count: u64) -> EventReading {
    EventReading {
        key: EventKey {
            source: "203.0.113.9".parse().unwrap(),
            interface: 2,
            service: ServiceIndex::new(1),
            fate: Fate::Dropped,
        },
        outcome: Outcome::DroppedUntrusted,
        destination: Some("192.0.2.1".parse().unwrap()),
        port: Some(11434),
        protocol: Some(Protocol::Tcp),
        at: Duration::from_secs(1),
        stay: Stay { cpu: 0, slot: 3, number },
        seen,
        count,
    }
}

pub(super) fn rest(number: u64, seen: u64, silent: bool) -> Rest {
    Rest { stay: Stay { cpu: 0, slot: 3, number }, seen, at: Duration::from_secs(2), silent }
}
