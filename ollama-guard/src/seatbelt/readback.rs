//! What the kernel holds, and how it differs from what it should hold.
//!
//! Anyone with `CAP_NET_ADMIN` may read a table, whoever owns it: `status` works while the daemon is dead.

use std::collections::{BTreeMap, BTreeSet};

use nftnl::nftnl_sys::{self as sys, libc};

use super::encode;
use super::error::SeatbeltError;
use super::object::{Kind, Object};
use super::ruleset::{Elements, Ruleset};
use super::transport::Transport;

mod compare;

pub(super) use compare::{Difference, differences};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the network header on.
    pub bytes: u64,
}

/// Our table as the kernel has it.
#[derive(Debug)]
pub(super) struct Held {
    /// `NFT_TABLE_F_*`
    pub(super) flags: u32,
    /// The owner's netlink port, if a live process owns the table.
    pub(super) owner: Option<u32>,
    pub(super) chains: BTreeMap<String, Object>,
    /// By chain, in order; `None`: a rule that libnftnl cannot read, so not ours.
    pub(super) rules: BTreeMap<String, Vec<Option<Object>>>,
    pub(super) sets: BTreeMap<String, Object>,
    pub(super) elements: BTreeMap<String, BTreeSet<Object>>,
    /// Instead of these, for long sets that nobody can have changed.
    pub(super) assumed: BTreeMap<String, Elements>,
    pub(super) counters: BTreeMap<String, Count>,
    /// What is in the table and cannot be ours: flow tables, objects other than counters, what cannot be read.
    pub(super) foreign: Vec<String>,
}

/// What need not be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'a> {
    /// Nothing is known.
    Nothing,
    /// Long sets are as in this ruleset if the table's owner is this port: nobody else can change it then.
    IfOwned(&'a Ruleset, u32),
}

/// Reads the table; `None` if there is none.
pub(super) fn read(transport: &mut Transport, table: &str, known: Known<'_>) -> Result<Option<Held>, SeatbeltError> {
    let tables = transport.dump(libc::NFT_MSG_GETTABLE, Kind::Table, &Object::new(Kind::Table))?;
    let is_ours = |object: &&Object| object.text(sys::NFTNL_TABLE_NAME) == Some(table);
    let Some(own) = tables.iter().flatten().find(is_ours) else { return Ok(None) };
    let mut held = Held {
        flags: own.u32(sys::NFTNL_TABLE_FLAGS).unwrap_or(0),
        owner: own.u32(sys::NFTNL_TABLE_OWNER),
        chains: BTreeMap::new(),
        rules: BTreeMap::new(),
        sets: BTreeMap::new(),
        elements: BTreeMap::new(),
        assumed: BTreeMap::new(),
        counters: BTreeMap::new(),
        foreign: Vec::new(),
    };
    held.read_chains(transport, table)?;
    match known {
        Known::IfOwned(ruleset, port) if held.owner == Some(port) => {
            let long = ruleset.sets.iter().filter(|set| set.elements.is_long());
            held.assumed = long.map(|set| (set.name.clone(), set.elements.clone())).collect();
        }
        _ => {}
    }
    held.read_sets(transport, table)?;
    held.read_counters(transport, table)?;
    Ok(Some(held))
}

impl Held {
    fn read_chains(&mut self, transport: &mut Transport, table: &str) -> Result<(), SeatbeltError> {
        for chain in transport.dump(libc::NFT_MSG_GETCHAIN, Kind::Chain, &Object::new(Kind::Chain))? {
            let Some(chain) = chain else { continue };
            if chain.text(sys::NFTNL_CHAIN_TABLE) == Some(table) {
                let name = chain.text(sys::NFTNL_CHAIN_NAME).unwrap_or_default().to_owned();
                self.rules.insert(name.clone(), Vec::new());
                self.chains.insert(name, chain);
            }
        }
        for (chain, rules) in &mut self.rules {
            *rules = transport.dump(libc::NFT_MSG_GETRULE, Kind::Rule, &encode::rules_of(table, chain))?;
        }
        Ok(())
    }

    fn read_sets(&mut self, transport: &mut Transport, table: &str) -> Result<(), SeatbeltError> {
        let about = Object::new(Kind::Set).with(sys::NFTNL_SET_TABLE, table);
        for set in transport.dump(libc::NFT_MSG_GETSET, Kind::Set, &about)? {
            let Some(set) = set else {
                self.foreign.push("a set that cannot be read".into());
                continue;
            };
            let name = set.text(sys::NFTNL_SET_NAME).unwrap_or_default().to_owned();
            let about = encode::by_name(Kind::Element, table, &name);
            let mut elements = BTreeSet::new();
            if self.assumed.contains_key(&name) {
                self.elements.insert(name.clone(), elements);
                self.sets.insert(name, set);
                continue;
            }
            for list in transport.dump(libc::NFT_MSG_GETSETELEM, Kind::Element, &about)? {
                match list {
                    Some(list) => elements.extend(list.inside),
                    None => self.foreign.push(format!("elements of the set {name} that cannot be read")),
                }
            }
            self.elements.insert(name.clone(), elements);
            self.sets.insert(name, set);
        }
        Ok(())
    }

    fn read_counters(&mut self, transport: &mut Transport, table: &str) -> Result<(), SeatbeltError> {
        let about = Object::new(Kind::Counter).with(sys::NFTNL_OBJ_TABLE, table);
        for object in transport.dump(libc::NFT_MSG_GETOBJ, Kind::Counter, &about)? {
            let Some(counter) = object.filter(|o| o.u32(sys::NFTNL_OBJ_TYPE) == Some(encode::OBJECT_COUNTER)) else {
                self.foreign.push("an object that is no counter".into());
                continue;
            };
            let name = counter.text(sys::NFTNL_OBJ_NAME).unwrap_or_default().to_owned();
            let count = Count {
                packets: counter.u64(sys::NFTNL_OBJ_CTR_PKTS).unwrap_or(0),
                bytes: counter.u64(sys::NFTNL_OBJ_CTR_BYTES).unwrap_or(0),
            };
            self.counters.insert(name, count);
        }
        Ok(())
    }

    /// The elements of a dynamic set: interface names and what was counted on them.
    pub(super) fn counted(&self, set: &str) -> BTreeMap<String, Count> {
        let elements = self.elements.get(set).into_iter().flatten();
        elements
            .filter_map(|element| {
                let key = element.bytes(sys::NFTNL_SET_ELEM_KEY)?;
                let name = key.split(|byte| *byte == 0).next()?;
                let counter = element.inside.first()?;
                let count = Count {
                    packets: counter.u64(sys::NFTNL_EXPR_CTR_PACKETS)?,
                    bytes: counter.u64(sys::NFTNL_EXPR_CTR_BYTES)?,
                };
                Some((String::from_utf8_lossy(name).into_owned(), count))
            })
            .collect()
    }
}
