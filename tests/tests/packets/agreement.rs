//! Random packets: the classifier on the host, the XDP program and the TC programs agree on verdict and counters.
//!
//! `OLLAMA_GUARD_PACKETS` says how many.

use std::env;

use anyhow::{Context, Result};
use ollama_guard::class::Class;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use tests::packet::strategy::{self, Pool};
use tests::stand::{Loaded, NETWORK, Stand, Way};
use tests::{require, requires};

/// Enough to find what a human breaks; more on request.
const DEFAULT: u32 = 3000;

const GUARDED: &str = r#"
    [[service]]
    name = "ollama"
    ports = [11434]
    [[service]]
    name = "voice"
    ports = [11434, 5004]
    protocols = ["udp"]
    [[allow]]
    source = "192.0.2.0/24"
    service = "voice"
    [[allow]]
    source = "2001:db8:5::/48"
"#;

#[test]
fn on_a_guarded_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(GUARDED, Class::Guarded)
}

#[test]
fn on_a_guarded_interface_of_a_router() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(&format!("forwarded = \"pass\"\nmode = \"observe\"\n{GUARDED}"), Class::Guarded)
}

#[test]
fn on_a_container_bridge() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(GUARDED, Class::Container)
}

#[test]
fn on_a_trusted_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    agree(GUARDED, Class::Trusted)
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
            agrees(*loaded.borrow_mut(), &frame.0).map_err(|error| TestCaseError::fail(format!("{error:#}")))
        });
        outcome.map_err(|error| anyhow::anyhow!("{error}"))
    })
}

fn agrees(loaded: &mut Loaded, frame: &[u8]) -> Result<()> {
    for way in Way::ALL {
        if !is_taken(way, frame) {
            continue;
        }
        let told = loaded.meet(way, frame)?;
        let expected = loaded.model.expects(way, frame);
        anyhow::ensure!(told == expected, "{way:?}: the model expects {expected:?}, the kernel did {told:?}");
    }
    Ok(())
}

/// A test run refuses other frames (`bpf_prog_test_run_skb`, `net/bpf/test_run.c`). The suite `live` sends them.
fn is_taken(way: Way, frame: &[u8]) -> bool {
    let (shortest, longest) = match (way, frame.get(12..14)) {
        (Way::Xdp, _) => (14, usize::MAX),
        (_, Some([0x08, 0x00])) => (14 + 20, 3500),
        (_, Some([0x86, 0xdd])) => (14 + 40, 3500),
        _ => (15, 3500),
    };
    (shortest..=longest).contains(&frame.len())
}
