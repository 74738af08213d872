//! Random packets: the classifier on the host, the XDP program and the TC programs agree on verdict and counters, and the
//! planned nftables rules on the verdict.
//!
//! `OLLAMA_GUARD_PACKETS` says how many.

use std::env;

use anyhow::{Context, Result};
use ollama_guard::class::Class;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use tests::fuzz::kernel::{POLICY, check, router};
use tests::packet::strategy::{self, Pool};
use tests::stand::{NETWORK, Stand};
use tests::{require, requires};

/// Enough to find what a human breaks; more on request.
const DEFAULT: u32 = 3000;

#[test]
fn on_a_guarded_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(POLICY, Class::Guarded)
}

#[test]
fn on_a_guarded_interface_of_a_router() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(&router(), Class::Guarded)
}

#[test]
fn on_a_container_bridge() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(POLICY, Class::Container)
}

#[test]
fn on_a_trusted_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(POLICY, Class::Trusted)
}

fn agree(policy: &str, class: Class) -> Result<()> {
    let cases = match env::var("OLLAMA_GUARD_PACKETS") {
        Ok(count) => count.parse().context("OLLAMA_GUARD_PACKETS is not a number")?,
        Err(_) => DEFAULT,
    };
    let pool = Pool {
        v4: NETWORK.iter().filter_map(|address| address.parse().ok()).collect(),
        v6: NETWORK.iter().filter_map(|address| address.parse().ok()).collect(),
        ports: vec![11434, 11434, 5004, 22, 53],
    };
    Stand::run(|stand| {
        let mut loaded = stand.load(policy, class)?;
        let mut runner =
            TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
        let loaded = std::cell::RefCell::new(&mut loaded);
        let outcome = runner.run(&strategy::frame(&pool), |frame| {
            check(*loaded.borrow_mut(), &frame.0).map(drop).map_err(|error| TestCaseError::fail(format!("{error:#}")))
        });
        outcome.map_err(|error| anyhow::anyhow!("{error}"))
    })
}
