//! The stable documents behind `--json`, described in docs/json.md. Keys and their order are a contract with
//! other people's scripts: keys may be added, none may change its meaning or go.

mod interface;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use serde::Serialize;

use super::enforcement::{enforcement, problems};
use super::snapshot::{self, Problem, SeatbeltState, Snapshot};
use crate::derived::DerivedPort;
use crate::policy::{self, Mode, Protocol};
use interface::Interface;

/// `status --json`.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    version: &'a str,
    mode: Mode,
    enforcing: bool,
    services: Vec<Service<'a>>,
    interfaces: Vec<Interface<'a>>,
    seatbelt: Seatbelt<'a>,
    sources: Vec<Source<'a>>,
    sources_tracked: u64,
    unattributed_packets: u64,
    problems: Vec<Problem>,
    daemon_running: bool,
    up_seconds: Option<f64>,
    derived: Vec<Derived<'a>>,
    source_evictions: u64,
    events_lost: u64,
    hook_repairs: u64,
    last_repair: Option<LastRepair<'a>>,
    unattributed_seconds: Option<f64>,
}

/// `sources --json`.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are the contract")]
pub struct Sources<'a> {
    version: &'a str,
    sources: Vec<Source<'a>>,
    sources_tracked: u64,
    unattributed_packets: u64,
}

#[derive(Debug, Serialize)]
struct LastRepair<'a> {
    what: &'a str,
    seconds_ago: f64,
}

#[derive(Debug, Serialize)]
struct Service<'a> {
    name: &'a str,
    protocols: &'a BTreeSet<Protocol>,
    ports: &'a BTreeSet<NonZeroU16>,
}

#[derive(Debug, Serialize)]
struct Derived<'a> {
    protocol: Protocol,
    port: u16,
    addresses: &'a BTreeSet<IpAddr>,
    service: &'a str,
    container: Option<&'a str>,
    through: &'a str,
    guarded: bool,
    present: bool,
}

#[derive(Debug, Serialize)]
struct Seatbelt<'a> {
    installed: bool,
    dropped_packets: u64,
    repairs: u64,
    owned: bool,
    wanted: bool,
    state: &'a str,
    chains: BTreeMap<&'a str, u64>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are the contract")]
struct Source<'a> {
    source: IpAddr,
    interface: &'a str,
    service: Option<&'a str>,
    packets: u64,
    dropped_packets: u64,
    last_seen_seconds_ago: f64,
    bytes: u64,
    dropped_bytes: u64,
    would_drop_packets: u64,
}

impl<'a> From<&'a Snapshot> for Status<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self {
            version: snapshot.version,
            mode: snapshot.mode,
            enforcing: enforcement(snapshot).is_full(),
            services: snapshot.services.iter().map(Service::from).collect(),
            interfaces: snapshot.interfaces.iter().map(Interface::from).collect(),
            seatbelt: Seatbelt::of(&snapshot.seatbelt, snapshot.layers.seatbelt),
            sources: snapshot.sources.iter().map(Source::from).collect(),
            sources_tracked: snapshot.sources_tracked,
            unattributed_packets: snapshot.unattributed_packets,
            problems: problems(snapshot),
            daemon_running: snapshot.daemon,
            up_seconds: snapshot.up.map(seconds),
            derived: snapshot.derived.iter().map(Derived::from).collect(),
            source_evictions: snapshot.source_evictions,
            events_lost: snapshot.events_lost,
            hook_repairs: snapshot.hook_repairs,
            last_repair: snapshot.last_repair.as_ref().map(LastRepair::from),
            unattributed_seconds: snapshot.unattributed_for.map(seconds),
        }
    }
}

impl<'a> From<&'a Snapshot> for Sources<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self {
            version: snapshot.version,
            sources: snapshot.sources.iter().map(Source::from).collect(),
            sources_tracked: snapshot.sources_tracked,
            unattributed_packets: snapshot.unattributed_packets,
        }
    }
}

impl<'a> From<&'a policy::Service> for Service<'a> {
    fn from(service: &'a policy::Service) -> Self {
        Self { name: service.name.as_str(), protocols: &service.protocols, ports: &service.ports }
    }
}

impl<'a> From<&'a DerivedPort> for Derived<'a> {
    fn from(derived: &'a DerivedPort) -> Self {
        Self {
            protocol: derived.protocol,
            port: derived.port,
            addresses: &derived.addresses,
            service: derived.service.as_str(),
            container: derived.container.as_deref(),
            through: &derived.through,
            guarded: derived.refused.is_none(),
            present: derived.present,
        }
    }
}

impl<'a> From<&'a snapshot::LastRepair> for LastRepair<'a> {
    fn from(last: &'a snapshot::LastRepair) -> Self {
        Self { what: &last.what, seconds_ago: seconds(last.age) }
    }
}

impl<'a> Seatbelt<'a> {
    fn of(seatbelt: &'a snapshot::Seatbelt, wanted: bool) -> Self {
        let state = match seatbelt.state {
            SeatbeltState::Intact => "intact",
            SeatbeltState::Altered(_) => "altered",
            SeatbeltState::Missing => "missing",
            SeatbeltState::Unknown(_) => "unknown",
        };
        Self {
            installed: matches!(seatbelt.state, SeatbeltState::Intact | SeatbeltState::Altered(_)),
            dropped_packets: seatbelt.dropped_packets(),
            repairs: seatbelt.repairs,
            owned: seatbelt.owned,
            wanted,
            state,
            chains: seatbelt.dropped.iter().map(|(chain, packets)| (chain.as_str(), *packets)).collect(),
        }
    }
}

impl<'a> From<&'a snapshot::Source> for Source<'a> {
    fn from(source: &'a snapshot::Source) -> Self {
        Self {
            source: source.source,
            interface: &source.interface,
            service: source.service.as_deref(),
            packets: source.packets,
            dropped_packets: source.dropped_packets,
            last_seen_seconds_ago: seconds(source.last_seen),
            bytes: source.bytes,
            dropped_bytes: source.dropped_bytes,
            would_drop_packets: source.would_drop_packets,
        }
    }
}

/// To the tenth: time stamps in the kernel are no finer than a jiffy.
fn seconds(age: Duration) -> f64 {
    (age.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
