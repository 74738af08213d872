//! Snapshots for the tests of the faces.

use std::time::Duration;

use ollama_guard_common::Outcome;

use super::snapshot::{Attachment, Counter, Interface, LastDrop, Seatbelt, SeatbeltState, Snapshot, Source};
use crate::class::Class;
use crate::config::{DEFAULT_PATH, built_in};
use crate::derived::DerivedPort;
use crate::init::Init;
use crate::plan::hook::Hook;
use crate::policy::Protocol;

/// An ordinary day of an ordinary host: everything is as it should be.
pub(crate) fn day() -> Snapshot {
    let policy = built_in();
    Snapshot {
        version: "0.1.0",
        mode: policy.mode,
        layers: policy.layers,
        container_access: policy.container_access,
        allowed: Some(0),
        opened: false,
        services: policy.services,
        derived: Vec::new(),
        up: Some(Duration::from_hours(75)),
        daemon: true,
        reloading: false,
        wall_failure: None,
        init: Init::Systemd,
        turned_away: None,
        config: DEFAULT_PATH.into(),
        interfaces: vec![eth0(), docker0(), tailscale0(), absent("wg0"), loopback()],
        seatbelt: Seatbelt {
            state: SeatbeltState::Intact,
            dropped: vec![("prerouting".into(), 0), ("input".into(), 0), ("forward".into(), 0)],
            repairs: 0,
            owned: false,
        },
        sources: vec![source("203.0.113.9", 12_900)],
        sources_tracked: 1,
        unattributed_packets: 0,
        unattributed_for: None,
        source_evictions: 0,
        events_lost: 0,
        hook_repairs: 0,
        last_repair: None,
        problems: Vec::new(),
    }
}

/// A port that Docker publishes for a container with Ollama in it.
pub(super) fn derived() -> DerivedPort {
    DerivedPort {
        protocol: Protocol::Tcp,
        port: 8080,
        addresses: [[0; 4].into()].into(),
        service: "ollama".parse().unwrap(),
        container: Some("open-webui-1".into()),
        through: "docker-proxy".into(),
        present: true,
        user: 0,
        expected: false,
        refused: None,
    }
}

pub(super) fn interface(name: &str, index: u32, class: Class, hook: Hook, why: &str) -> Interface {
    Interface {
        name: name.into(),
        index: Some(index),
        physical: false,
        master: None,
        class,
        access: built_in().access(class, &name.parse().unwrap_or_else(|_| "odd".parse().unwrap())),
        attachment: Attachment::Attached { hook, why: why.into() },
        counters: Vec::new(),
        last_drop: None,
    }
}

fn eth0() -> Interface {
    Interface {
        counters: vec![
            counter(Some("ollama"), Outcome::DroppedUntrusted, 12_900),
            counter(None, Outcome::DroppedFragment, 4),
        ],
        last_drop: Some(last_drop("203.0.113.9", Duration::from_millis(2_140))),
        physical: true,
        ..interface("eth0", 2, Class::Guarded, Hook::XdpNative, "a network card with nothing on top")
    }
}

fn docker0() -> Interface {
    Interface {
        counters: vec![counter(Some("ollama"), Outcome::DroppedUntrusted, 31)],
        last_drop: Some(last_drop("172.17.0.2", Duration::from_secs(4_000))),
        ..interface("docker0", 5, Class::Container, Hook::Tcx, "a bridge")
    }
}

fn tailscale0() -> Interface {
    Interface {
        counters: vec![counter(Some("ollama"), Outcome::PassedTrusted, 48_211)],
        ..interface("tailscale0", 7, Class::Trusted, Hook::Tcx, "a layer-3 device")
    }
}

pub(super) fn absent(name: &str) -> Interface {
    Interface {
        index: None,
        attachment: Attachment::NotNeeded("not present".into()),
        ..interface(name, 0, Class::Trusted, Hook::Tcx, "")
    }
}

fn loopback() -> Interface {
    Interface { index: Some(1), attachment: Attachment::NotNeeded("not counted".into()), ..absent("lo") }
}

pub(super) fn counter(service: Option<&str>, outcome: Outcome, packets: u64) -> Counter {
    Counter { service: service.map(str::to_owned), outcome, packets, bytes: packets * 60 }
}

pub(super) fn last_drop(source: &str, age: Duration) -> LastDrop {
    LastDrop { source: Some(source.parse().unwrap()), age }
}

pub(super) fn source(source: &str, dropped: u64) -> Source {
    Source {
        source: source.parse().unwrap(),
        interface: "eth0".into(),
        service: Some("ollama".into()),
        packets: dropped,
        bytes: dropped * 60,
        dropped_packets: dropped,
        dropped_bytes: dropped * 60,
        would_drop_packets: 0,
        last_seen: Duration::from_millis(2_140),
    }
}
