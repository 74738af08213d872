//! The loaded kernel programs against the classifier and the decision on the host: same verdict, same counters. And
//! the planned ruleset against both.

use anyhow::{Result, ensure};

use super::nftables::{self, Comparison};
use crate::stand::{Loaded, Way};

/// A policy with all that a decision can depend on.
pub const POLICY: &str = r#"
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

/// The same on a router that only observes.
pub fn router() -> String {
    format!("forwarded = \"pass\"\nmode = \"observe\"\n{POLICY}")
}

/// Gives the frame to every program that takes it. An error if one of them does something else than the host's classifier,
/// or if the planned ruleset does; says how that compares.
pub fn check(loaded: &mut Loaded, frame: &[u8]) -> Result<Comparison> {
    for way in Way::ALL.into_iter().filter(|way| is_taken(*way, frame)) {
        let told = loaded.meet(way, frame)?;
        let expected = loaded.model.expects(way, frame);
        ensure!(told == expected, "{way:?}: the model expects {expected:?}, the kernel did {told:?}");
    }
    nftables::compare(&loaded.model, frame)
}

/// A test run refuses other frames (`bpf_prog_test_run_skb`, `net/bpf/test_run.c`). The suite `live` sends them.
fn is_taken(way: Way, frame: &[u8]) -> bool {
    let (shortest, longest) = match (way, frame.get(12..14)) {
        (Way::Xdp, _) => (14, 3500),
        (_, Some([0x08, 0x00])) => (14 + 20, 3500),
        (_, Some([0x86, 0xdd])) => (14 + 40, 3500),
        _ => (15, 3500),
    };
    (shortest..=longest).contains(&frame.len())
}
