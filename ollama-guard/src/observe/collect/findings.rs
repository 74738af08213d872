//! What the policy opens on this host: reads the facts that [`crate::findings`] judges.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::class::Class;
use crate::datapath::{PinDirectory, Reading, SourceReading, State, Wall};
use crate::findings::{self, Finding, Host, Traffic, TurnedAway, of_host, of_policy};
use crate::links::{Links, Routes};
use crate::plan::class::{Placement, Placements};
use crate::policy::{Mode, Policy};
use ollama_guard_common::Fate;

/// Everything there is to find for a policy, the worst first. What this user may not read is left out.
pub fn findings(policy: &Policy) -> Vec<Finding> {
    let mut found = of_policy(policy);
    if let Ok(links) = Links::read() {
        let wall = Wall::open(PinDirectory::at(&policy.paths.bpf)).ok().flatten();
        let reading = wall.and_then(|wall| wall.reading().ok());
        found.extend(on_host(policy, &links, &Placements::new(policy, &links), reading.as_ref()));
    }
    found.sort();
    found
}

/// What the host adds. The routes of a host without a trusted interface or a VPN are not read.
pub(super) fn on_host(
    policy: &Policy,
    links: &Links,
    placements: &Placements,
    reading: Option<&Reading>,
) -> Vec<Finding> {
    let is_trusted = |placement: &Placement| matches!(placement, Placement::Attach(Class::Trusted, _));
    let trusted: BTreeSet<u32> =
        placements.by_index.iter().filter(|(_, placement)| is_trusted(placement)).map(|(index, _)| *index).collect();
    let sources = reading.into_iter().flat_map(|reading| &reading.sources);
    let passed: Vec<_> = sources
        .filter(|source| source.fate == Fate::Passed && trusted.contains(&source.interface))
        .map(traffic)
        .collect();
    let vpns = links.iter().filter(|link| link.is_vpn()).map(|link| link.index);
    let routes = Routes::read(&trusted.iter().copied().chain(vpns).collect()).unwrap_or_default();
    let local_ports = local_ports();
    of_host(policy, &Host { links, placements, routes: &routes, local_ports: local_ports.as_ref(), passed: &passed })
}

/// How recently a private address must have been refused: who was told and did nothing meant it.
const RECENT: Duration = Duration::from_hours(24);

/// The private address to give advice about. None where the allow-list is too long to be known.
pub(super) fn turned_away(
    state: &State,
    links: &Links,
    placements: &Placements,
    reading: &Reading,
) -> Option<TurnedAway> {
    let fate = match state.policy.mode {
        Mode::Enforce => Fate::Dropped,
        Mode::Observe => Fate::WouldDrop,
    };
    let refused = reading.sources.iter().filter(|source| source.fate == fate && source.last_seen <= RECENT);
    let host = Host { links, placements, routes: &Routes::default(), local_ports: None, passed: &[] };
    (!state.allow_elided).then(|| findings::turned_away(&state.policy, &host, refused.map(traffic))).flatten()
}

fn traffic(source: &SourceReading) -> Traffic {
    Traffic { interface: source.interface, source: source.source, packets: source.counter.packets }
}

/// The ports from which Linux picks one for an outgoing connection (ip-sysctl.rst).
fn local_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    Some(ports.next()?.ok()?..=ports.next()?.ok()?)
}
