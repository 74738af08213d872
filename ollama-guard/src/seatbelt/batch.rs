//! The steps from what the kernel holds to what it should hold.

use nftnl::nftnl_sys::libc;

use super::encode;
use super::libnftnl::Message;
use super::object::{Kind, Object};
use super::readback::{Count, Difference, Held};
use super::ruleset::{Chain, Edge, Elements, Ruleset, Set};
use super::transport::Step;

/// A batch under construction, for one table.
pub(super) struct Plan<'a> {
    table: &'a str,
    wanted: &'a Ruleset,
    steps: Vec<Step>,
}

impl<'a> Plan<'a> {
    /// A table that does not exist yet, or replaces `held`, whose counters live on.
    pub(super) fn rebuild(table: &'a str, wanted: &'a Ruleset, flags: u32, held: Option<&Held>) -> Vec<Step> {
        let mut plan = Self { table, wanted, steps: Vec::new() };
        if held.is_some() {
            plan.delete_table();
        }
        plan.make_table(flags);
        for counter in wanted.counters.iter().copied().map(encode::counter_name) {
            let count = held.and_then(|held| held.counters.get(&counter)).copied();
            plan.make_counter(&counter, count.unwrap_or_default());
        }
        for set in &wanted.sets {
            plan.make_set(set);
        }
        for chain in &wanted.chains {
            plan.make_chain(chain);
        }
        for chain in &wanted.chains {
            plan.fill_chain(chain);
        }
        plan.steps
    }

    /// What is different, nothing else: sets that did not change are not rebuilt, of long ones only what changed, counters
    /// never.
    pub(super) fn refill(
        table: &'a str,
        wanted: &'a Ruleset,
        flags: u32,
        held: &Held,
        differences: &[Difference],
    ) -> Vec<Step> {
        let mut plan = Self { table, wanted, steps: Vec::new() };
        plan.make_table(flags);
        for difference in differences {
            match difference {
                Difference::NoCounter(name) => plan.make_counter(name, Count::default()),
                Difference::NoSet(name) => plan.for_set(name, Self::make_set),
                Difference::Elements(name) => match held.assumed.get(name) {
                    Some(before) => plan.for_set(name, |plan, set| plan.change_set(set, before)),
                    None => plan.for_set(name, Self::refill_set),
                },
                Difference::NoChain(name) => plan.for_chain(name, Self::make_chain),
                _ => {}
            }
        }
        for difference in differences {
            match difference {
                Difference::NoChain(name) => plan.for_chain(name, Self::fill_chain),
                Difference::Rules(name) => {
                    let object = encode::rules_of(table, name);
                    plan.push(libc::NFT_MSG_DELRULE, 0, object, format!("emptying chain {name}"));
                    plan.for_chain(name, Self::fill_chain);
                }
                _ => {}
            }
        }
        // Last: by now no rule uses them.
        for difference in differences {
            if let Difference::ExtraSet(name) = difference {
                let object = encode::by_name(Kind::Set, table, name);
                plan.push(libc::NFT_MSG_DELSET, 0, object, format!("deleting set {name}"));
            }
        }
        plan.steps
    }

    /// Takes the table away.
    pub(super) fn remove(table: &'a str, wanted: &'a Ruleset) -> Vec<Step> {
        let mut plan = Self { table, wanted, steps: Vec::new() };
        plan.delete_table();
        plan.steps
    }

    fn push(&mut self, command: i32, flags: i32, object: Object, what: String) {
        let small = |number: i32| u16::try_from(number).expect("netlink numbers commands and flags in 16 bits");
        self.steps.push(Step { message: Message { command: small(command), flags: small(flags), object }, what });
    }

    fn make_table(&mut self, flags: u32) {
        let object = encode::table(self.table, Some(flags));
        self.push(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, object, TABLE_STEP.into());
    }

    fn delete_table(&mut self) {
        self.push(libc::NFT_MSG_DELTABLE, 0, encode::table(self.table, None), TABLE_STEP.into());
    }

    fn make_counter(&mut self, name: &str, count: Count) {
        let object = encode::counter(self.table, name, count.packets, count.bytes);
        self.push(libc::NFT_MSG_NEWOBJ, libc::NLM_F_CREATE, object, format!("counter {name}"));
    }

    fn make_set(&mut self, set: &Set) {
        let id = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let object = encode::set(self.table, set, id);
        self.push(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, object, format!("set {}", set.name));
        self.fill_set(set);
    }

    fn refill_set(&mut self, set: &Set) {
        if !set.elements.is_dynamic() {
            let object = encode::by_name(Kind::Element, self.table, &set.name);
            self.push(libc::NFT_MSG_DELSETELEM, 0, object, format!("emptying set {}", set.name));
            self.fill_set(set);
        }
    }

    fn change_set(&mut self, set: &Set, before: &Elements) {
        let (gone, new) = before.changes(&set.elements);
        for elements in encode::element_messages(self.table, &set.name, gone) {
            self.push(libc::NFT_MSG_DELSETELEM, 0, elements, format!("elements to go from set {}", set.name));
        }
        self.add_elements(set, new);
    }

    fn fill_set(&mut self, set: &Set) {
        self.add_elements(set, set.elements.edges());
    }

    fn add_elements(&mut self, set: &Set, edges: Vec<Edge>) {
        for elements in encode::element_messages(self.table, &set.name, edges) {
            let what = format!("elements of set {}", set.name);
            self.push(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, elements, what);
        }
    }

    fn make_chain(&mut self, chain: &Chain) {
        let object = encode::chain(self.table, chain);
        self.push(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, object, format!("chain {}", chain.name));
    }

    fn fill_chain(&mut self, chain: &Chain) {
        for rule in &chain.rules {
            let object = encode::rule(self.table, &chain.name, rule);
            let what = format!("the rule `{rule}` of chain {}", chain.name);
            self.push(libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, object, what);
        }
    }

    fn for_set(&mut self, name: &str, act: impl Fn(&mut Self, &Set)) {
        let wanted = self.wanted;
        if let Some(set) = wanted.sets.iter().find(|set| set.name == name) {
            act(self, set);
        }
    }

    fn for_chain(&mut self, name: &str, act: impl Fn(&mut Self, &Chain)) {
        let wanted = self.wanted;
        if let Some(chain) = wanted.chains.iter().find(|chain| chain.name == name) {
            act(self, chain);
        }
    }
}

/// How a refusal names the table itself.
pub(super) const TABLE_STEP: &str = "the table";
