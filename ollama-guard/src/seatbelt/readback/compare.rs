//! Held against wanted.

use std::collections::BTreeSet;
use std::fmt;

use nftnl::nftnl_sys as sys;

use super::Held;
use crate::seatbelt::encode;
use crate::seatbelt::object::Object;
use crate::seatbelt::ruleset::Ruleset;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::seatbelt) enum Difference {
    /// A chain has other rules.
    Rules(String),
    /// A set has other elements.
    Elements(String),
    /// A set is missing.
    NoSet(String),
    /// A set that nobody asked for.
    ExtraSet(String),
    /// A counter is missing.
    NoCounter(String),
    /// A chain is missing.
    NoChain(String),
    /// What only a new table can put right: a base chain elsewhere, a set of another type, foreign objects.
    Shape(String),
}

impl Difference {
    pub(in crate::seatbelt) fn needs_new_table(&self) -> bool {
        matches!(self, Self::Shape(_))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(chain) => write!(f, "the rules of chain {chain} were changed"),
            Self::Elements(set) => write!(f, "the elements of set {set} were changed"),
            Self::NoSet(set) => write!(f, "set {set} is missing"),
            Self::ExtraSet(set) => write!(f, "set {set} was added"),
            Self::NoCounter(counter) => write!(f, "counter {counter} is missing"),
            Self::NoChain(chain) => write!(f, "chain {chain} is missing"),
            Self::Shape(what) => write!(f, "{what}"),
        }
    }
}

/// Everything in which the table differs from the ruleset.
pub(in crate::seatbelt) fn differences(held: &Held, wanted: &Ruleset) -> Vec<Difference> {
    let mut found: Vec<_> = held.foreign.iter().cloned().map(Difference::Shape).collect();
    if held.flags & DORMANT != 0 {
        found.push(Difference::Shape("the table was made dormant".into()));
    }
    chains(held, wanted, &mut found);
    sets(held, wanted, &mut found);
    let counters: BTreeSet<String> = wanted.counters.iter().copied().map(encode::counter_name).collect();
    found.extend(counters.iter().filter(|n| !held.counters.contains_key(*n)).cloned().map(Difference::NoCounter));
    let extra = held.counters.keys().filter(|name| !counters.contains(*name));
    found.extend(extra.map(|name| Difference::Shape(format!("counter {name} was added"))));
    found
}

/// `NFT_TABLE_F_DORMANT`: its chains see no packets.
const DORMANT: u32 = 1;

fn chains(held: &Held, wanted: &Ruleset, found: &mut Vec<Difference>) {
    for chain in &wanted.chains {
        let Some(actual) = held.chains.get(&chain.name) else {
            found.push(Difference::NoChain(chain.name.clone()));
            continue;
        };
        let expected = encode::chain("", chain);
        let place = [sys::NFTNL_CHAIN_HOOKNUM, sys::NFTNL_CHAIN_PRIO, sys::NFTNL_CHAIN_POLICY, sys::NFTNL_CHAIN_TYPE];
        if place.iter().any(|attribute| actual.bytes(*attribute) != expected.bytes(*attribute)) {
            found.push(Difference::Shape(format!("chain {} was hooked elsewhere", chain.name)));
        }
        let rules = &held.rules[&chain.name];
        let expected = chain.rules.iter().map(|rule| encode::rule("", &chain.name, rule));
        let same = rules.len() == chain.rules.len()
            && rules
                .iter()
                .zip(expected)
                .all(|(held, wanted)| held.as_ref().is_some_and(|held| same_rule(held, &wanted)));
        if !same {
            found.push(Difference::Rules(chain.name.clone()));
        }
    }
    let extra = held.chains.keys().filter(|name| wanted.chains.iter().all(|chain| chain.name != **name));
    found.extend(extra.map(|name| Difference::Shape(format!("chain {name} was added"))));
}

fn same_rule(held: &Object, wanted: &Object) -> bool {
    held.bytes(sys::NFTNL_RULE_USERDATA) == wanted.bytes(sys::NFTNL_RULE_USERDATA)
        && held.inside.len() == wanted.inside.len()
        && held.inside.iter().zip(&wanted.inside).all(|(held, wanted)| normal(held) == normal(wanted))
}

/// Without what a dump adds or leaves out: optional attributes that are zero, and a counter's current value.
fn normal(expression: &Object) -> Object {
    let optional: &[u32] = match expression.text(sys::NFTNL_EXPR_NAME) {
        Some("lookup") => &[sys::NFTNL_EXPR_LOOKUP_FLAGS, sys::NFTNL_EXPR_LOOKUP_SET_ID],
        Some("bitwise") => &[sys::NFTNL_EXPR_BITWISE_OP],
        Some("exthdr") => &[sys::NFTNL_EXPR_EXTHDR_FLAGS, sys::NFTNL_EXPR_EXTHDR_OP],
        Some("dynset") => {
            &[sys::NFTNL_EXPR_DYNSET_TIMEOUT, sys::NFTNL_EXPR_DYNSET_FLAGS, sys::NFTNL_EXPR_DYNSET_SET_ID]
        }
        _ => &[],
    };
    let mut normal = Object::new(expression.kind);
    for (attribute, value) in &expression.attributes {
        let is_default = optional.contains(&u32::from(*attribute)) && value.iter().all(|byte| *byte == 0);
        if !is_default {
            normal.attributes.insert(*attribute, value.clone());
        }
    }
    if expression.text(sys::NFTNL_EXPR_NAME) == Some("counter") {
        normal.attributes.remove(&u16::try_from(sys::NFTNL_EXPR_CTR_PACKETS).unwrap_or_default());
        normal.attributes.remove(&u16::try_from(sys::NFTNL_EXPR_CTR_BYTES).unwrap_or_default());
    }
    normal.containing(expression.inside.iter().map(self::normal))
}

fn sets(held: &Held, wanted: &Ruleset, found: &mut Vec<Difference>) {
    for set in &wanted.sets {
        let Some(actual) = held.sets.get(&set.name) else {
            found.push(Difference::NoSet(set.name.clone()));
            continue;
        };
        let expected = encode::set("", set, 0);
        let kind = [sys::NFTNL_SET_FLAGS, sys::NFTNL_SET_KEY_TYPE, sys::NFTNL_SET_KEY_LEN, sys::NFTNL_SET_DESC_SIZE];
        if kind.iter().any(|attribute| actual.u32(*attribute).unwrap_or(0) != expected.u32(*attribute).unwrap_or(0)) {
            found.push(Difference::Shape(format!("set {} is of another type", set.name)));
        } else if !set.elements.is_dynamic() && !same_elements(held, set) {
            found.push(Difference::Elements(set.name.clone()));
        }
    }
    let extra = held.sets.keys().filter(|name| wanted.sets.iter().all(|set| set.name != **name));
    found.extend(extra.cloned().map(Difference::ExtraSet));
}

fn same_elements(held: &Held, set: &crate::seatbelt::ruleset::Set) -> bool {
    if let Some(assumed) = held.assumed.get(&set.name) {
        return *assumed == set.elements;
    }
    let wanted: BTreeSet<_> = (set.elements.edges().into_iter()).map(|edge| (edge.key, edge.is_end)).collect();
    let held: BTreeSet<_> = (held.elements[&set.name].iter())
        .map(|element| {
            let is_end = element.u32(sys::NFTNL_SET_ELEM_FLAGS).unwrap_or(0) & 1 != 0;
            (element.bytes(sys::NFTNL_SET_ELEM_KEY).unwrap_or_default().to_vec(), is_end)
        })
        .collect();
    wanted == held
}
