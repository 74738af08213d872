//! What the table holds and has counted, read back from the kernel.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::SeatbeltError;
use super::readback::{self, Count, Held, Known};
use super::ruleset::{CounterName, Hook, Refused, Ruleset, Why};
use super::transport::Transport;

/// Is the table there, and is it ours to the letter?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It holds what it should.
    Intact,
    /// There is no such table.
    Missing,
    /// Each entry says in words what is different.
    Differs(Vec<String>),
}

/// The seatbelt as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeatbeltStatus {
    /// The table exists.
    pub installed: bool,
    /// It holds what it should.
    pub intact: bool,
    /// In words, if it does not.
    pub condition: Condition,
    /// The netlink port of the live process that owns it (nobody else can edit or flush it).
    pub owner: Option<u32>,
    /// All refused and dropped packets.
    pub dropped: Count,
    /// Every named counter.
    pub counters: BTreeMap<String, Count>,
    /// Dropped packets by chain (`prerouting`, `input`, `forward`).
    pub dropped_by_chain: BTreeMap<&'static str, Count>,
    /// By chain and interface (the VRF member, in a VRF).
    pub dropped_by_interface: BTreeMap<&'static str, BTreeMap<String, Count>>,
    /// The same for packets that `mode = "observe"` let pass.
    pub would_drop_by_interface: BTreeMap<&'static str, BTreeMap<String, Count>>,
}

/// Reads the table `table` of this thread's network namespace and compares it with what it should hold.
pub fn read_status(table: &str, wanted: &Ruleset) -> Result<SeatbeltStatus, SeatbeltError> {
    read(&mut Transport::open()?, table, wanted)
}

pub(super) fn read(transport: &mut Transport, table: &str, wanted: &Ruleset) -> Result<SeatbeltStatus, SeatbeltError> {
    Ok(SeatbeltStatus::of(readback::read(transport, table, Known::Nothing)?.as_ref(), wanted))
}

impl SeatbeltStatus {
    fn of(held: Option<&Held>, wanted: &Ruleset) -> Self {
        let condition = match held {
            None => Condition::Missing,
            Some(held) => {
                let differences = readback::differences(held, wanted);
                if differences.is_empty() {
                    Condition::Intact
                } else {
                    Condition::Differs(differences.iter().map(ToString::to_string).collect())
                }
            }
        };
        let counters = held.map(|held| held.counters.clone()).unwrap_or_default();
        let mut dropped = Count::default();
        let mut dropped_by_chain = BTreeMap::new();
        let (mut dropped_by_interface, mut would_drop_by_interface) = (BTreeMap::new(), BTreeMap::new());
        for hook in Hook::ALL {
            let mut chain = Count::default();
            for why in [Why::Untrusted, Why::Hidden] {
                let name = CounterName::Refused(Refused { hook, why, observed: false }).to_string();
                chain.add(counters.get(&name).copied().unwrap_or_default());
            }
            dropped.add(chain);
            dropped_by_chain.insert(hook.as_str(), chain);
            let on = |observed| held.map(|held| held.counted(&hook.counted_set(observed))).unwrap_or_default();
            dropped_by_interface.insert(hook.as_str(), on(false));
            would_drop_by_interface.insert(hook.as_str(), on(true));
        }
        Self {
            installed: held.is_some(),
            intact: condition == Condition::Intact,
            condition,
            owner: held.and_then(|held| held.owner),
            dropped,
            counters,
            dropped_by_chain,
            dropped_by_interface,
            would_drop_by_interface,
        }
    }
}

impl Count {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}
