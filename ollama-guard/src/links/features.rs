//! What attaching native XDP may silently change about a device, and how to notice.
//!
//! Drivers make room for XDP as they see fit: they switch off receive offloads, lower the MTU limit, take send
//! queues for themselves. The guard promises to touch nothing else on the host, so it takes a snapshot before
//! and after and takes the program back if they differ.

mod ethtool;
mod family;
mod netdev;

use std::collections::BTreeSet;

pub use ethtool::Channels;
pub use netdev::takes_fragments;

use super::{Link, Mtu, NetlinkError, Queues};

/// The state of one device, in the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Features that are on (`ethtool -k`).
    pub active: BTreeSet<String>,
    /// Features that a user can switch.
    pub switchable: BTreeSet<String>,
    /// MTU and its limits.
    pub mtu: Mtu,
    /// Queues allocated.
    pub queues: Queues,
    /// Queues in use (`ethtool -l`), if the driver tells.
    pub channels: Option<Channels>,
}

impl Snapshot {
    /// Reads it. An error (kernels without ethtool's netlink family, for one) means that a change could not
    /// be noticed: then native XDP is not for `auto` to take.
    pub fn read(index: u32) -> Result<Self, NetlinkError> {
        let link = Link::read(index)?;
        let features = ethtool::features(index)?;
        Ok(Self {
            active: features.active,
            switchable: features.switchable,
            mtu: link.mtu,
            queues: link.queues,
            channels: ethtool::channels(index)?,
        })
    }

    /// What is different `after`, in words, one clause each; empty if nothing is.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        sets(&mut found, &self.active, &after.active, "switched on", "switched off");
        sets(&mut found, &self.switchable, &after.switchable, "made switchable", "fixed");
        let before = self.numbers();
        for ((what, before), (_, after)) in before.into_iter().zip(after.numbers()) {
            if before != after {
                found.push(format!("{what} {} → {}", shown(before), shown(after)));
            }
        }
        found
    }

    fn numbers(&self) -> [(&'static str, Option<u32>); 13] {
        let channels = |field: fn(&Channels) -> u32| self.channels.as_ref().map(field);
        [
            ("MTU", Some(self.mtu.current)),
            ("least MTU", self.mtu.min),
            ("greatest MTU", self.mtu.max),
            ("receive queues", self.queues.rx),
            ("send queues", self.queues.tx),
            ("receive channels", channels(|c| c.rx)),
            ("send channels", channels(|c| c.tx)),
            ("other channels", channels(|c| c.other)),
            ("combined channels", channels(|c| c.combined)),
            ("receive channels possible", channels(|c| c.rx_max)),
            ("send channels possible", channels(|c| c.tx_max)),
            ("other channels possible", channels(|c| c.other_max)),
            ("combined channels possible", channels(|c| c.combined_max)),
        ]
    }
}

fn sets(found: &mut Vec<String>, before: &BTreeSet<String>, after: &BTreeSet<String>, gained: &str, lost: &str) {
    found.extend(before.difference(after).map(|feature| format!("feature {feature} {lost}")));
    found.extend(after.difference(before).map(|feature| format!("feature {feature} {gained}")));
}

fn shown(number: Option<u32>) -> String {
    number.map_or_else(|| "not told".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            active: ["rx-gro", "rx-lro"].map(str::to_owned).into(),
            switchable: ["rx-gro", "rx-lro"].map(str::to_owned).into(),
            mtu: Mtu { current: 1500, min: Some(68), max: Some(9000) },
            queues: Queues { rx: Some(4), tx: Some(4) },
            channels: Some(Channels { combined: 4, combined_max: 4, ..Channels::default() }),
        }
    }

    #[test]
    fn nothing_changed_is_nothing_said() {
        assert_eq!(snapshot().differences(&snapshot()), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_said_in_words() {
        let mut after = snapshot();
        after.active.remove("rx-lro");
        after.switchable.remove("rx-lro");
        after.active.insert("rx-gro-hw".to_owned());
        after.mtu.max = Some(3498);
        after.queues.tx = None;
        after.channels = Some(Channels { combined: 2, combined_max: 4, ..Channels::default() });
        let expected = [
            "feature rx-lro switched off",
            "feature rx-gro-hw switched on",
            "feature rx-lro fixed",
            "greatest MTU 9000 → 3498",
            "send queues 4 → not told",
            "combined channels 4 → 2",
        ];
        assert_eq!(snapshot().differences(&after), expected);
    }
}
