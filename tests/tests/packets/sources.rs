//! Who sent what: every packet of a calm hour is attributed to its source, and the last drop names its source.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ollama_guard::class::Class;
use ollama_guard_common::abi::{Counter, ServiceIndex};
use ollama_guard_common::{Decision, Fate};
use tests::packet::Packet;
use tests::stand::{Stand, Way};
use tests::{require, requires};

use crate::cases::{SERVICES, packets};

type Sums = BTreeMap<(IpAddr, ServiceIndex, Fate), (u64, u64)>;

#[test]
fn each_packet_is_attributed_to_its_source() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    for class in [Class::Guarded, Class::Container, Class::Trusted] {
        Stand::run(|stand| attributed(stand, SERVICES, class))?;
    }
    Stand::run(|stand| attributed(stand, &format!("mode = \"observe\"\n{SERVICES}"), Class::Guarded))
}

fn attributed(stand: &mut Stand, policy: &str, class: Class) -> Result<()> {
    let mut loaded = stand.load(policy, class)?;
    let mut expected = Sums::new();
    let mut last = None;
    let mut nameless = 0;
    for frame in packets().iter().map(Packet::bytes) {
        for way in Way::ALL {
            loaded.meet(way, &frame)?;
            let Some(Decision { outcome, service, source }) = loaded.model.decide(way, &frame) else { continue };
            if outcome.fate() != Fate::Passed {
                last = source.ip();
            }
            let Some(source) = source.ip() else {
                nameless += 1; // behind more tags than are looked behind
                continue;
            };
            let sum = expected.entry((source, service, outcome.fate())).or_default();
            *sum = (sum.0 + 1, sum.1 + frame.len() as u64);
        }
    }
    let reading = stand.reading()?;
    let told: Sums = reading
        .sources
        .iter()
        .map(|source| {
            let Counter { packets, bytes } = source.counter;
            ((source.source, source.service, source.fate), (packets, bytes))
        })
        .collect();
    ensure!(told == expected, "{class}: expected {expected:?}, told {told:?}");

    let interface = reading.interfaces.get(&stand.interface()).context("the interface was not counted")?;
    let total: u64 = interface.counters.values().map(|counter| counter.packets).sum();
    let named: u64 = expected.values().map(|(packets, _)| packets).sum();
    ensure!(total == named + nameless, "{class}: {total} in all, {named} with and {nameless} without a source");
    ensure!(interface.last_drop.and_then(|drop| drop.source) == last, "{class}: {:?}, {last:?}", interface.last_drop);
    Ok(())
}
