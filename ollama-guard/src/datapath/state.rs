//! Word for `status` of what is enforced, kept in a pinned map so that it outlives the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use ollama_guard_common::abi::STATE_SIZE;
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

use super::shared::SharedMaps;
use super::{DatapathError, ProgramKey};
use crate::config::lockout::{Listener, Spared};
use crate::derived::{DerivedPort, Unknown};
use crate::findings::Finding;
use crate::plan::services::ServiceTable;
use crate::policy::{InterfaceName, Policy};

/// What the loader last enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of the program that wrote it.
    pub version: String,
    /// When enforcement began: seconds since boot, by [`crate::clock`]. The date may be set later.
    pub since: u64,
    /// The policy.
    pub policy: Policy,
    /// What is to be said of the policy, found while its allow-list was whole.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The policy's allow-list was too long to write down; it is in the kernel's tries all the same.
    pub allow_elided: bool,
    /// Which counter index is which service.
    pub services: ServiceTable,
    /// Program pins that enforce this policy; anything else that is attached enforces an older one.
    pub programs: BTreeSet<String>,
    /// Why each interface, by index, has the hook it has.
    pub hook_reasons: BTreeMap<u32, String>,
    /// Ports that lead to a guarded one, found on this host.
    #[serde(default)]
    pub derived: Vec<DerivedPort>,
    /// Bridges whose programs have the first word where `br_netfilter` is loaded.
    #[serde(default)]
    pub judged: BTreeSet<InterfaceName>,
    /// When a packet was first found that no tracked source accounts for, as `since`.
    #[serde(default)]
    pub untracked_since: Option<u64>,
    /// What nftables had caught, by interface, when the programs last changed: it was there before they were.
    #[serde(default)]
    pub caught_before: BTreeMap<String, u64>,
    /// How often the nftables table was repaired.
    pub repairs: u64,
    /// How often the program of an interface, or its pin, was put back.
    #[serde(default)]
    pub hook_repairs: u64,
    /// The last of all repairs.
    #[serde(default)]
    pub last_repair: Option<Event>,
    /// The last reload failed, for this reason: the policy before it is in force.
    #[serde(default)]
    pub reload_failure: Option<Event>,
    /// Sources removed with their interfaces.
    #[serde(default)]
    pub forgotten: u64,
    /// The policy that is taking this one's place: what is in force is the one or the other.
    #[serde(default)]
    pub coming: Option<Coming>,
    /// Why the eBPF programs are not in place, or nobody looks after them.
    #[serde(default)]
    pub wall_failure: Option<String>,
    /// Fingerprint of the interfaces that were dealt with: others came since.
    #[serde(default)]
    pub seen: u64,
    /// Proxies that do not say where they lead.
    #[serde(default)]
    pub unknown: BTreeSet<Unknown>,
    /// Ports of services that stay open.
    #[serde(default)]
    pub spared: Vec<Spared>,
    /// By these listeners, as far as known.
    #[serde(default)]
    pub ways_in: Vec<Listener>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// In seconds since boot.
    pub at: u64,
    /// In words.
    pub what: String,
}

/// What comes into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// The policy, without a long allow-list.
    pub policy: Policy,
    /// It has one.
    pub allow_elided: bool,
    /// Its derived ports.
    pub derived: Vec<DerivedPort>,
}

impl State {
    /// Is this the program of the policy in force?
    pub fn is_current(&self, key: &ProgramKey) -> bool {
        self.programs.contains(key.as_str())
    }

    /// The same, where there is no room for the allow-lists.
    fn without_allow_lists(&self) -> Self {
        let bare = |policy: &Policy| Policy { allow: Vec::new(), ..policy.clone() };
        let coming = self.coming.as_ref();
        let coming = coming.map(|next| Coming { policy: bare(&next.policy), allow_elided: true, ..next.clone() });
        Self { policy: bare(&self.policy), allow_elided: true, coming, ..self.clone() }
    }
}

/// Length and hash of the text that follows: a reader that meets a half-written value sees it and tries again.
const HEADER: usize = 16;
const TRIES: usize = 100;

pub(super) fn write(maps: &SharedMaps, state: &State) -> Result<(), DatapathError> {
    let failed = || DatapathError::map("write", "state");
    let encode = |state: &State| serde_json::to_vec(state).map_err(io::Error::from).map_err(failed());
    let mut text = encode(state)?;
    if text.len() > STATE_SIZE - HEADER {
        text = encode(&state.without_allow_lists())?;
    }
    let mut value = vec![0_u8; STATE_SIZE];
    let Some(room) = value.get_mut(HEADER..HEADER + text.len()) else {
        return Err(failed()(io::Error::new(io::ErrorKind::FileTooLarge, "the policy is too long for it")));
    };
    room.copy_from_slice(&text);
    value[..8].copy_from_slice(&(text.len() as u64).to_ne_bytes());
    value[8..HEADER].copy_from_slice(&digest(&text).to_ne_bytes());
    let value = <&[u8; STATE_SIZE]>::try_from(value.as_slice()).map_err(io::Error::other).map_err(failed())?;
    maps.state.set(&0, value).map_err(failed())
}

pub(super) fn read(maps: &SharedMaps) -> Result<Option<State>, DatapathError> {
    for _ in 0..TRIES {
        let value = maps.state.get(&0).map_err(DatapathError::map("read", "state"))?;
        let Some(value) = value else { return Ok(None) };
        let word = |at: usize| u64::read_from_bytes(&value[at..at + 8]).unwrap_or(0);
        let length = usize::try_from(word(0)).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(None); // created, not written yet
        }
        let text = value.get(HEADER..HEADER.saturating_add(length));
        if let Some(text) = text.filter(|text| digest(text) == word(8)) {
            let state = serde_json::from_slice(text).map_err(io::Error::from);
            return state.map(Some).map_err(DatapathError::map("understand", "state"));
        }
    }
    let torn = io::Error::new(io::ErrorKind::InvalidData, "it is damaged; restart ollama-guard to write it anew");
    Err(DatapathError::map("read", "state")(torn))
}

fn digest(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
