//! Which metrics there are, and where each number comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use ollama_guard_common::Fate;

use super::cells::{Cell, Cells, cells};
use super::encode::{Family, Labels, Series, Value};
use super::ledger::{Ledger, Shown};
use super::{Daemon, process};
use crate::clock;
use crate::observe::enforcement::{enforcement, problems};
use crate::observe::snapshot::{Attachment, Count, Interface, SeatbeltState, Severity, Snapshot};
use crate::plan::hook::Hook;

pub(super) fn of_snapshot(snapshot: &Snapshot) -> Vec<Family> {
    let cells = cells(snapshot);
    counted(&cells).into_iter().chain(state(snapshot)).chain(seatbelt(snapshot)).collect()
}

fn counted(cells: &Cells) -> [Family; 3] {
    let by_fate = |pick: fn(&Count) -> u64| {
        let series = cells.iter().flat_map(move |(cell, found)| {
            found.by_fate.iter().map(move |(fate, count)| {
                let labels = [("class", found.class.as_str()), ("verdict", fate.as_str())];
                Series { labels: place(cell, &labels), value: Value::Count(pick(count)) }
            })
        });
        series.collect::<Vec<_>>()
    };
    let drops = cells.iter().flat_map(|(cell, found)| {
        found.drops.iter().map(|(reason, packets)| Series {
            labels: place(cell, &[("reason", reason)]),
            value: Value::Count(*packets),
        })
    });
    [
        family(
            "ollama_guard_packets",
            "Packets that were for a guarded port, or may have been.",
            by_fate(|count| count.packets),
        ),
        family(
            "ollama_guard_bytes",
            "Bytes of the packets in ollama_guard_packets_total.",
            by_fate(|count| count.bytes),
        ),
        family("ollama_guard_drops", "Dropped packets by reason.", drops.collect()),
    ]
}

/// The sources' series.
pub(super) fn of_sources(ledger: &Ledger) -> [Family; 2] {
    let series = |pick: fn(&Shown<'_>) -> u64| {
        let one = |shown: Shown<'_>| {
            let source = shown.source.map_or_else(|| "other".to_owned(), |source| source.to_string());
            Series { labels: place(shown.cell, &[("source", &source)]), value: Value::Count(pick(&shown)) }
        };
        ledger.shown().map(one).collect()
    };
    [
        family(
            "ollama_guard_source_packets",
            "Packets by source; other is every source without a series of its own.",
            series(|shown| shown.packets.iter().sum()),
        ),
        family(
            "ollama_guard_source_dropped_packets",
            "Dropped packets by source, as in ollama_guard_source_packets_total.",
            series(|shown| shown.packets[Fate::Dropped as usize]),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and these are far below 2^53")]
fn state(snapshot: &Snapshot) -> Vec<Family> {
    let problems = problems(snapshot);
    let severity = |severity: Severity, word: &str| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        Series { labels: labels(&[("severity", word)]), value: Value::Gauge(count as f64) }
    };
    vec![
        gauge(
            "ollama_guard_enforcing",
            "1 if everything the policy asks for is in the kernel, and it asks to enforce.",
            flag(enforcement(snapshot).is_full()),
        ),
        family(
            "ollama_guard_problems",
            "What is not as it should be: gap means that enforcement is partial, notice that nothing is degraded.",
            vec![
                severity(Severity::Gap, "gap"),
                severity(Severity::Warning, "warning"),
                severity(Severity::Notice, "notice"),
            ],
        ),
        family(
            "ollama_guard_interface_attached",
            "1 if the eBPF program that belongs on the interface is on it, 0 if it is missing.",
            attached(snapshot),
        ),
        gauge("ollama_guard_sources_tracked", "Senders the kernel remembers.", snapshot.sources_tracked as f64),
        gauge(
            "ollama_guard_unattributed_packets",
            "Counted packets that no tracked source accounts for.",
            snapshot.unattributed_packets as f64,
        ),
        counter(
            "ollama_guard_source_evictions",
            "Senders that had to make room for others.",
            snapshot.source_evictions,
        ),
        counter(
            "ollama_guard_events_lost",
            "Drop events that were due and not sent: too many at once, or nobody reads them.",
            snapshot.events_lost,
        ),
        counter(
            "ollama_guard_hook_repairs",
            "How often an interface's eBPF program, or its pin, was put back after somebody had removed it.",
            snapshot.hook_repairs,
        ),
        family(
            "ollama_guard_build_info",
            "Always 1; the labels tell the build.",
            vec![Series { labels: labels(&[("version", snapshot.version)]), value: Value::Gauge(1.0) }],
        ),
    ]
}

/// Interfaces that need a program, with or without.
fn attached(snapshot: &Snapshot) -> Vec<Series> {
    let needing = snapshot
        .interfaces
        .iter()
        .filter(|interface| !matches!(interface.attachment, Attachment::NotNeeded(_) | Attachment::Member(_)));
    let one = |interface: &Interface| Series {
        labels: labels(&[
            ("device", interface.name.as_str()),
            ("class", interface.class.as_str()),
            ("hook", Hook::label(interface.hook())),
        ]),
        value: Value::Gauge(flag(matches!(interface.attachment, Attachment::Attached { .. }))),
    };
    needing.map(one).collect()
}

fn seatbelt(snapshot: &Snapshot) -> [Family; 3] {
    let seatbelt = &snapshot.seatbelt;
    let chain = |(chain, packets): &(String, u64)| Series {
        labels: labels(&[("chain", chain)]),
        value: Value::Count(*packets),
    };
    [
        gauge(
            "ollama_guard_seatbelt_installed",
            "1 if the nftables table is there and as it should be.",
            flag(seatbelt.state == SeatbeltState::Intact),
        ),
        family(
            "ollama_guard_seatbelt_dropped_packets",
            "Packets that the nftables layer dropped.",
            seatbelt.dropped.iter().map(chain).collect(),
        ),
        family(
            "ollama_guard_seatbelt_repairs",
            "How often somebody's change of the nftables table was undone.",
            vec![Series { labels: Labels::default(), value: Value::Count(seatbelt.repairs) }],
        ),
    ]
}

/// What the daemon says of itself.
pub(super) fn of_daemon(daemon: &Daemon) -> Vec<Family> {
    let reload = daemon.reload;
    let mut families = vec![
        gauge(
            "ollama_guard_config_last_reload_successful",
            "1 if the configuration that was read last was sound; else the one before it is in force.",
            flag(reload.successful),
        ),
        gauge(
            "ollama_guard_config_last_reload_success_timestamp_seconds",
            "When a sound configuration was last read.",
            since_epoch(clock::date(reload.last_success)),
        ),
    ];
    families.extend(process::families(&daemon.process));
    families
}

/// `device`, `service` and more. No service is an empty label, which is to Prometheus as if it were absent.
fn place(cell: &Cell, more: &[(&'static str, &str)]) -> Labels {
    let (device, service) = cell.labels();
    let mut labels = labels(&[("device", device), ("service", service.unwrap_or_default())]);
    labels.0.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

fn labels(labels: &[(&'static str, &str)]) -> Labels {
    Labels(labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
}

fn family(name: &'static str, help: &'static str, series: Vec<Series>) -> Family {
    Family { name, help, series }
}

pub(super) fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    family(name, help, vec![Series { labels: Labels::default(), value: Value::Gauge(value) }])
}

fn counter(name: &'static str, help: &'static str, count: u64) -> Family {
    family(name, help, vec![Series { labels: Labels::default(), value: Value::Count(count) }])
}

fn flag(flag: bool) -> f64 {
    if flag { 1.0 } else { 0.0 }
}

pub(super) fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
