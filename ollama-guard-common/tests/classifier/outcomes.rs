//! One enumeration is counter slot, metric label and status row: they must not contradict each other.

use std::collections::BTreeSet;

use ollama_guard_common::{Ambiguity, Fate, Outcome, Reason, Refusal};

#[test]
fn a_slot_is_an_outcome_and_an_outcome_a_fate_with_a_reason() {
    for (slot, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, slot);
    }
    let pairs: BTreeSet<(Fate, Reason)> = Outcome::ALL.map(|outcome| (outcome.fate(), outcome.reason())).into();
    assert_eq!(pairs.len(), Outcome::COUNT, "two outcomes are one and the same");
    let reasons: BTreeSet<Reason> = Outcome::ALL.map(Outcome::reason).into();
    for words in [Reason::as_str, Reason::describe] {
        let different: BTreeSet<&str> = reasons.iter().map(|reason| words(*reason)).collect();
        assert_eq!(different.len(), reasons.len(), "{different:?}");
    }
    let labels = [Fate::Passed, Fate::Dropped, Fate::WouldDrop].map(Fate::as_str);
    assert_eq!(labels, ["passed", "dropped", "would_drop"]);
}

#[test]
fn observing_changes_the_fate_and_not_the_reason() {
    let hidden = [Ambiguity::Fragment, Ambiguity::Extension, Ambiguity::Truncated];
    let refusals = hidden.map(|why| (Refusal::Ambiguous(why), Reason::from(why)));
    for (refusal, reason) in refusals.into_iter().chain([(Refusal::Untrusted, Reason::Untrusted)]) {
        for (observe, fate) in [(false, Fate::Dropped), (true, Fate::WouldDrop)] {
            let outcome = Outcome::refused(refusal, observe);
            assert_eq!((outcome.fate(), outcome.reason()), (fate, reason));
        }
    }
}
