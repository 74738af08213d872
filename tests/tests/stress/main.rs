//! Promise 3, "there is no moment without enforcement", under a siege: while a stranger floods the port and a friend uses
//! it, the policy is changed, the daemon killed, replaced and restarted, links flap, rules are flushed. And promise 6,
//! that nothing accumulates. Mostly with one layer alone: another must not hide its gaps. A few rounds each; `OLLAMA_GUARD_STRESS=1` makes all of them.

mod death;
mod flush;
mod links;
mod many;
mod objects;
mod reload;
mod upgrade;

use std::env;

/// Set to 1 for all rounds instead of a few.
const ALL: &str = "OLLAMA_GUARD_STRESS";

/// How many rounds to make: a few, or all.
fn rounds(few: usize, all: usize) -> usize {
    if env::var_os(ALL).is_some_and(|value| value == "1") { all } else { few }
}
