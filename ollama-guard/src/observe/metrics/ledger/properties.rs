//! Whatever is sent, forgotten and unplugged, and whenever it is read.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::class::Class;
use crate::observe::samples::{counter, day, interface};
use crate::plan::hook::Hook;
use ollama_guard_common::Outcome;

/// A kernel: totals, and a table of sources that forgets.
#[derive(Default)]
struct Kernel {
    /// By device: how often it was plugged in anew, and its packets by fate.
    devices: BTreeMap<u8, (u32, Packets)>,
    table: BTreeMap<(u8, u8), Packets>,
    /// When each last sent, by whatever clock.
    seen: BTreeMap<(u8, u8), Duration>,
    clock: Duration,
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        device: u8,
        who: u8,
        fate: usize,
        packets: u64,
    },
    Forget {
        device: u8,
        who: u8,
    },
    Unplug {
        device: u8,
    },
    Wait {
        minutes: u64,
    },
    /// Packets that come after the sources were read and before the totals.
    Read {
        between: Vec<(u8, u8, usize, u64)>,
    },
}

const OUTCOMES: [Outcome; 3] = [Outcome::PassedAllowed, Outcome::DroppedUntrusted, Outcome::WouldDropUntrusted];

fn packet() -> impl Strategy<Value = (u8, u8, usize, u64)> {
    (0_u8..2, 0_u8..12, 0_usize..3, 1_u64..300)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => packet().prop_map(|(device, who, fate, packets)| Step::Send { device, who, fate, packets }),
        3 => (0_u8..2, 0_u8..12).prop_map(|(device, who)| Step::Forget { device, who }),
        1 => (0_u8..2).prop_map(|device| Step::Unplug { device }),
        2 => (1_u64..200).prop_map(|minutes| Step::Wait { minutes }),
        6 => prop::collection::vec(packet(), 0..3).prop_map(|between| Step::Read { between }),
    ]
}

impl Kernel {
    fn send(&mut self, (device, who, fate, packets): (u8, u8, usize, u64)) {
        self.devices.entry(device).or_default().1[fate] += packets;
        self.table.entry((device, who)).or_default()[fate] += packets;
        self.seen.insert((device, who), self.clock);
    }

    fn sources(&self) -> Vec<Source> {
        let source = |(&(device, who), packets): (&(u8, u8), &Packets)| Source {
            source: IpAddr::from([10, 0, 0, who]),
            interface: format!("eth{device}").into(),
            packets: packets.iter().sum(),
            dropped_packets: packets[1],
            would_drop_packets: packets[2],
            last_seen: self.clock.saturating_sub(self.seen[&(device, who)]),
            ..crate::observe::samples::source("10.0.0.1", 0)
        };
        self.table.iter().map(source).collect()
    }

    /// Sources first, then what comes in between, then totals.
    fn read(&mut self, between: &[(u8, u8, usize, u64)]) -> Snapshot {
        let sources = self.sources();
        for packet in between {
            self.send(*packet);
        }
        let interfaces = self.devices.iter().map(|(device, (index, totals))| {
            let mut interface = interface(&format!("eth{device}"), *index, Class::Guarded, Hook::Tcx, "");
            let counters = OUTCOMES.iter().zip(totals);
            interface.counters =
                counters.map(|(outcome, packets)| counter(Some("ollama"), *outcome, *packets)).collect();
            interface
        });
        Snapshot { interfaces: interfaces.collect(), sources, ..day() }
    }

    /// The same device, plugged in again: its counters and entries are new.
    fn unplug(&mut self, device: u8) {
        let index = self.devices.get(&device).map_or(0, |(index, _)| index + 1);
        self.devices.insert(device, (index, Packets::default()));
        self.table.retain(|(on, _), _| *on != device);
    }
}

type Exposition = BTreeMap<(String, Option<IpAddr>), Packets>;

fn exposition(ledger: &Ledger) -> Exposition {
    ledger.shown().map(|shown| ((shown.cell.device.clone(), shown.source), shown.packets)).collect()
}

proptest! {
    #[test]
    fn every_series_is_monotone_and_the_sums_are_the_totals(
        steps in prop::collection::vec(step(), 1..120),
        limit in 0_usize..16,
    ) {
        let (mut kernel, mut ledger) = (Kernel::default(), Ledger::default());
        let (mut before, mut restarted) = (Exposition::new(), BTreeSet::new());
        // When each last sent, as far as the kernel told: it may forget before anybody reads.
        let mut told = BTreeMap::new();
        // The most that each series ever showed, also those that ended.
        let mut highest = Exposition::new();
        for step in steps {
            match step {
                Step::Send { device, who, fate, packets } => kernel.send((device, who, fate, packets)),
                Step::Wait { minutes } => kernel.clock += Duration::from_mins(minutes),
                Step::Forget { device, who } => drop(kernel.table.remove(&(device, who))),
                Step::Unplug { device } => {
                    kernel.unplug(device);
                    restarted.insert(format!("eth{device}"));
                }
                Step::Read { between } => {
                    told.extend(kernel.table.keys().map(|key| (*key, kernel.seen[key])));
                    let snapshot = kernel.read(&between);
                    ledger.update(&snapshot, limit, kernel.clock);
                    let now = exposition(&ledger);
                    prop_assert!(ledger.len() <= limit);
                    for (device, (_, totals)) in &kernel.devices {
                        let name = format!("eth{device}");
                        for fate in 0..3 {
                            let sum: u64 = now.iter().filter(|((on, _), _)| *on == name).map(|(_, p)| p[fate]).sum();
                            prop_assert_eq!(sum, totals[fate]);
                        }
                    }
                    for ((device, who), was) in before.iter().filter(|((device, _), _)| !restarted.contains(device)) {
                        if !now.contains_key(&(device.clone(), *who)) {
                            let Some(IpAddr::V4(who)) = who else { panic!("other vanished") };
                            let key = (device.as_bytes()[3] - b'0', who.octets()[3]);
                            prop_assert_eq!(was[0], 0, "a client lost its series");
                            prop_assert!(kernel.clock.saturating_sub(told[&key]) >= Duration::from_mins(10), "{who} was there");
                        }
                    }
                    highest.retain(|(device, _), _| !restarted.contains(device));
                    for ((device, who), is) in &now {
                        let most = highest.entry((device.clone(), *who)).or_default();
                        for fate in 0..3 {
                            prop_assert!(is[fate] >= most[fate], "{who:?} on {device} went back");
                        }
                        *most = *is;
                    }
                    before = now;
                    restarted.clear();
                }
            }
        }
    }

    /// Nothing forgotten, enough room, no packet in between: each source shows exactly what it sent.
    #[test]
    fn in_quiet_times_every_source_is_exact(packets in prop::collection::vec((packet(), any::<bool>()), 1..80)) {
        let (mut kernel, mut ledger) = (Kernel::default(), Ledger::default());
        for (packet, read) in packets {
            kernel.send(packet);
            if read {
                let snapshot = kernel.read(&[]);
                ledger.update(&snapshot, 64, kernel.clock);
                let shown = exposition(&ledger);
                for (&(device, who), sent) in &kernel.table {
                    let shown = shown.get(&(format!("eth{device}"), Some(IpAddr::from([10, 0, 0, who]))));
                    prop_assert_eq!(shown, Some(sent));
                }
            }
        }
    }
}
