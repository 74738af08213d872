//! One interface of `status --json`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ollama_guard_common::{Fate, Reason};
use serde::{Serialize, Serializer};

use super::super::snapshot::{self, Attachment};
use super::seconds;
use crate::class::Class;
use crate::plan::hook::Hook;
use crate::policy::Access;

/// One element of `interfaces`.
#[derive(Debug, Serialize)]
pub(super) struct Interface<'a> {
    name: &'a str,
    index: Option<u32>,
    class: Class,
    hook: &'static str,
    passed_packets: u64,
    passed_bytes: u64,
    dropped_packets: u64,
    dropped_bytes: u64,
    drops: ByReason,
    last_drop: Option<LastDrop>,
    hook_reason: &'a str,
    would_drop_packets: u64,
    would_drop_bytes: u64,
    would_drops: ByReason,
    passes: ByReason,
    counters: Vec<Counter<'a>>,
    access: Access,
}

#[derive(Debug, Serialize)]
struct LastDrop {
    source: Option<IpAddr>,
    seconds_ago: f64,
}

#[derive(Debug, Serialize)]
struct Counter<'a> {
    service: Option<&'a str>,
    verdict: &'a str,
    reason: &'a str,
    packets: u64,
    bytes: u64,
}

impl<'a> From<&'a snapshot::Interface> for Interface<'a> {
    fn from(interface: &'a snapshot::Interface) -> Self {
        let [passed, dropped, would_drop] =
            [Fate::Passed, Fate::Dropped, Fate::WouldDrop].map(|fate| interface.count(fate));
        Self {
            name: &interface.name,
            index: interface.index,
            class: interface.class,
            hook: Hook::label(interface.hook()),
            passed_packets: passed.packets,
            passed_bytes: passed.bytes,
            dropped_packets: dropped.packets,
            dropped_bytes: dropped.bytes,
            drops: by_reason(interface, Fate::Dropped),
            last_drop: interface.last_drop.map(|last| LastDrop { source: last.source, seconds_ago: seconds(last.age) }),
            hook_reason: match &interface.attachment {
                Attachment::Attached { why, .. }
                | Attachment::NotNeeded(why)
                | Attachment::Member(why)
                | Attachment::Missing(why) => why,
            },
            would_drop_packets: would_drop.packets,
            would_drop_bytes: would_drop.bytes,
            would_drops: by_reason(interface, Fate::WouldDrop),
            passes: by_reason(interface, Fate::Passed),
            counters: interface.counters.iter().filter(|counter| counter.packets > 0).map(Counter::from).collect(),
            access: interface.access,
        }
    }
}

/// Packets of one fate by reason, in the order of the reasons; those without packets are left out.
#[derive(Debug, Default)]
struct ByReason(BTreeMap<Reason, u64>);

impl Serialize for ByReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(reason, packets)| (reason.as_str(), packets)))
    }
}

fn by_reason(interface: &snapshot::Interface, fate: Fate) -> ByReason {
    let mut sums = ByReason::default();
    for counter in interface.counters.iter().filter(|counter| counter.outcome.fate() == fate && counter.packets > 0) {
        *sums.0.entry(counter.outcome.reason()).or_default() += counter.packets;
    }
    sums
}

impl<'a> From<&'a snapshot::Counter> for Counter<'a> {
    fn from(counter: &'a snapshot::Counter) -> Self {
        let outcome = counter.outcome;
        Self {
            service: counter.service.as_deref(),
            verdict: outcome.fate().as_str(),
            reason: outcome.reason().as_str(),
            packets: counter.packets,
            bytes: counter.bytes,
        }
    }
}
