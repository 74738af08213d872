//! One reading of the kernel: plain data, no behaviour beyond sums.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ollama_guard_common::{Fate, Outcome};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::class::Class;
use crate::derived::DerivedPort;
use crate::findings::{Finding, TurnedAway, Weight};
use crate::init::Init;
use crate::plan::hook::Hook;
use crate::policy::{Access, ContainerAccess, Layers, Mode, Service};

/// Everything that status, JSON and metrics say. Ages are as of the reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of the program that reads. A daemon answers only to its own version.
    #[serde(skip, default = "version")]
    pub version: &'static str,
    /// Of the policy in force.
    pub mode: Mode,
    /// Which layers the policy in force wants.
    pub layers: Layers,
    /// Of the policy in force.
    pub container_access: ContainerAccess,
    /// What is guarded; empty if no policy is in force.
    pub services: Vec<Service>,
    /// How many `[[allow]]` there are; none if they are too many to be written down.
    pub allowed: Option<usize>,
    /// The policy itself opens a guarded port to strangers, or may: `problems` says how.
    #[serde(default)]
    pub opened: bool,
    /// Ports that are guarded because a proxy leads from them to one of these.
    pub derived: Vec<DerivedPort>,
    /// How long the policy's programs have been in the kernel; none if there are none.
    pub up: Option<Duration>,
    /// Does the daemon run? Enforcement does not need it; changes do.
    pub daemon: bool,
    /// Another policy takes this one's place just now.
    pub reloading: bool,
    /// Why the eBPF layer as a whole is wanted and not in place.
    pub wall_failure: Option<String>,
    /// How the daemon is started on this host.
    #[serde(default)]
    pub init: Init,
    /// A private address that was refused of late: perhaps a device of its user's.
    #[serde(default)]
    pub turned_away: Option<TurnedAway>,
    /// The configuration file to name in advice.
    pub config: PathBuf,
    /// Every interface, and the trusted names that are absent. Shown in this order.
    pub interfaces: Vec<Interface>,
    /// The nftables layer.
    pub seatbelt: Seatbelt,
    /// Sources, perhaps not all of them; in no order before [`Self::rank_sources`].
    pub sources: Vec<Source>,
    /// How many sources the kernel holds.
    pub sources_tracked: u64,
    /// Packets counted per interface that no source in the table accounts for.
    pub unattributed_packets: u64,
    /// Since when there are such packets, as far as the daemon has noticed.
    pub unattributed_for: Option<Duration>,
    /// Sources that had to make room for others.
    pub source_evictions: u64,
    /// Drop events that were due and not sent.
    pub events_lost: u64,
    /// Programs of interfaces, and their pins, that somebody removed and that were put back.
    #[serde(default)]
    pub hook_repairs: u64,
    /// The last repair of a program or of the table.
    #[serde(default)]
    pub last_repair: Option<LastRepair>,
    /// What the reader of the kernel found wrong. What follows from the other fields is added by
    /// [`super::enforcement`].
    pub problems: Vec<Problem>,
}

impl Snapshot {
    /// Puts the sources with the most packets dropped, or that would have been, first, and leaves out all but `top` of them if given.
    pub fn rank_sources(&mut self, top: Option<usize>) {
        let rank = |source: &Source| {
            let refused = source.dropped_packets + source.would_drop_packets;
            (Reverse(refused), Reverse(source.packets), source.last_seen, source.source)
        };
        if let Some(top) = top.filter(|&top| top < self.sources.len()) {
            self.sources.select_nth_unstable_by_key(top, rank);
            self.sources.truncate(top);
        }
        self.sources.sort_unstable_by_key(rank);
    }
}

/// One interface of the host's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As `ip link` shows it.
    pub name: String,
    /// None if a trusted name has no interface now.
    pub index: Option<u32>,
    /// Has a parent device (PCI, USB, virtio, …).
    pub physical: bool,
    /// The bridge, bond, team, … that takes its packets, by name.
    pub master: Option<String>,
    /// What the policy makes of it.
    pub class: Class,
    /// What the policy makes of packets to a guarded port there.
    pub access: Access,
    /// The wall on it.
    pub attachment: Attachment,
    /// What its programs counted. Slots that are zero may be left out.
    pub counters: Vec<Counter>,
    /// The most recent drop, if one is known.
    pub last_drop: Option<LastDrop>,
}

/// What of the wall is on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attachment {
    /// A program is attached.
    Attached {
        /// Where.
        hook: Hook,
        /// Why there, in words.
        why: String,
    },
    /// None is needed: in words for the hook's column, such as `not counted` or `in br0`.
    NotNeeded(String),
    /// A program judges what the bridge, bond or team above never sees: next to nothing. In words, `in br0`.
    Member(String),
    /// One is needed and there is none, for this reason.
    Missing(String),
}

/// Packets with one fate for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// None where the port could not be read.
    pub service: Option<String>,
    /// Fate and reason.
    #[serde(serialize_with = "slot", deserialize_with = "outcome")]
    pub outcome: Outcome,
    /// Exact, GRO aggregates unfolded.
    pub packets: u64,
    /// Of whole packets.
    pub bytes: u64,
}

/// The most recent drop on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrop {
    /// Who sent it, if the source table knows.
    pub source: Option<IpAddr>,
    /// How long ago.
    pub age: Duration,
}

/// The most recent repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRepair {
    /// What was put right, in words.
    pub what: String,
    /// How long ago.
    pub age: Duration,
}

/// The nftables layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seatbelt {
    /// What was read back.
    pub state: SeatbeltState,
    /// Per chain: packets dropped.
    pub dropped: Vec<(String, u64)>,
    /// How often somebody else's edit was undone.
    pub repairs: u64,
    /// The daemon owns the table: nobody else can edit it, nor load a saved ruleset that has it.
    #[serde(default)]
    pub owned: bool,
}

/// Is the table what it should be?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeatbeltState {
    /// Read back and equal to what the policy wants.
    Intact,
    /// There, but somebody changed it: what differs, in words.
    Altered(String),
    /// Not there.
    Missing,
    /// It could not be read, for this reason.
    Unknown(String),
}

/// One source. Many share their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its address.
    pub source: IpAddr,
    /// Where its packets arrived.
    pub interface: Arc<str>,
    /// What they were for; none where the port could not be read.
    pub service: Option<Arc<str>>,
    /// All of them.
    pub packets: u64,
    /// All of them.
    pub bytes: u64,
    /// Those dropped.
    pub dropped_packets: u64,
    /// Those dropped.
    pub dropped_bytes: u64,
    /// Those that observe mode let through; neither passed by the policy nor dropped.
    pub would_drop_packets: u64,
    /// The most recent one.
    pub last_seen: Duration,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What it is about: an interface, `nftables`, `configuration`, a port, …
    pub subject: String,
    /// What is degraded, in words.
    pub problem: String,
    /// What to do.
    pub next_step: String,
}

/// What a problem means for the promise. The worst sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A packet might get through that should not: enforcement is partial.
    Gap,
    /// One layer is degraded or something needs attention. The kernel enforces what the policy asks for.
    Warning,
    /// Probably not meant; nothing is degraded.
    Notice,
}

impl From<Finding> for Problem {
    fn from(Finding { weight, subject, problem, next_step }: Finding) -> Self {
        let severity = match weight {
            Weight::Opens => Severity::Warning,
            Weight::Odd | Weight::Hint => Severity::Notice,
        };
        Self { severity, subject, problem, next_step }
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// This program's version.
const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// An outcome travels as the number of its slot.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn slot<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*outcome as u8)
}

fn outcome<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Outcome, D::Error> {
    let slot = u8::deserialize(deserializer)?;
    Outcome::ALL.get(usize::from(slot)).copied().ok_or_else(|| serde::de::Error::custom("no outcome has this slot"))
}

impl Interface {
    /// Sum of the packets with one fate.
    pub fn count(&self, fate: Fate) -> Count {
        let with_fate = self.counters.iter().filter(|counter| counter.outcome.fate() == fate);
        with_fate.fold(Count::default(), |sum, counter| Count {
            packets: sum.packets + counter.packets,
            bytes: sum.bytes + counter.bytes,
        })
    }

    /// The hook, if a program is attached.
    pub const fn hook(&self) -> Option<Hook> {
        match self.attachment {
            Attachment::Attached { hook, .. } => Some(hook),
            Attachment::NotNeeded(_) | Attachment::Member(_) | Attachment::Missing(_) => None,
        }
    }
}

impl Seatbelt {
    /// Packets dropped in all chains.
    pub fn dropped_packets(&self) -> u64 {
        self.dropped.iter().map(|(_, packets)| packets).sum()
    }
}
