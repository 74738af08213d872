//! Random policies: lowered, installed, read back: identical, each replacing the one before in the same table.

use ollama_guard::seatbelt::ruleset::lower;
use ollama_guard::seatbelt::{Condition, Seatbelt, TABLE, read_status};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::policies;
use crate::support::Netns;

/// How many at a time: each commit waits for the kernel's grace periods, which pass for all of them at once.
const HOSTS: usize = 16;

#[test]
fn what_any_policy_plans_is_what_the_kernel_holds() {
    let rounds: usize = std::env::var("SEATBELT_ROUNDS").map_or(300, |rounds| rounds.parse().unwrap());
    std::thread::scope(|scope| {
        for host in 0..HOSTS {
            scope.spawn(move || on_one_host((rounds + host) / HOSTS));
        }
    });
    println!("{rounds} policies lowered, installed and read back identical");
}

fn on_one_host(rounds: usize) {
    Netns::new("random").within(|| {
        let mut runner = TestRunner::default();
        let plans = (policies::policy(), policies::surroundings());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        let mut previous = None;
        for _ in 0..rounds {
            let (policy, surroundings) = plans.new_tree(&mut runner).unwrap().current();
            let ruleset = lower(&policy, &surroundings);
            seatbelt.apply(&ruleset).unwrap_or_else(|error| panic!("{error}\n{ruleset}"));
            assert_eq!(read_status(TABLE, &ruleset).unwrap().condition, Condition::Intact, "{ruleset}");
            // The comparison is not blind: another ruleset is not intact.
            if let Some(previous) = previous.replace(ruleset.clone())
                && previous != ruleset
            {
                assert_ne!(read_status(TABLE, &previous).unwrap().condition, Condition::Intact, "{ruleset}");
            }
        }
    });
}
