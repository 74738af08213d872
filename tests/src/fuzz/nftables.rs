//! The planned ruleset against the decision of the eBPF layer: what one refuses the other refuses (drops, or would drop
//! where it only observes), but for the few kinds of packets that are named here.

use anyhow::{Context, Result};
use ollama_guard::seatbelt::ruleset::{
    AddressType, CounterName, Hook, PacketFacts, Refused, Rule, Ruleset,
    Transport::{Port, Truncated, Unknown},
    Verdict,
};
use ollama_guard_common::{Decision, Fate, Reason};

use crate::stand::{Model, Oddity, Seen, Way};

const AUTHENTICATION: u8 = 51;

/// How the two layers compare on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// No hook of nftables sees it: the kernel refuses it, or it belongs to a VLAN.
    Unseen,
    /// Both pass it.
    BothPass,
    /// Both refuse it.
    BothRefuse,
    /// More headers than the eBPF layer follows; nftables reads on.
    ManyHeaders,
    /// nftables does not look behind an authentication header. Nor does the kernel, without a security association; with
    /// one, the packet passes nftables once more, without that header.
    Authenticated,
    /// On its way through this host to where no route leads. Nobody gets it; nftables asks about IPv4 addresses of this
    /// host only, the eBPF layer about routes too.
    Lost,
    /// A later fragment of a later fragment, which nftables takes for hidden. Never complete (`ipv6_frag_rcv`).
    NestedFragment,
    /// The length field leaves no room for ports, or ends within a header. The kernel refuses it; one layer takes it for hidden.
    CutByLength,
}

/// How the layers compare on this frame; an error if they disagree.
pub fn compare(model: &Model, frame: &[u8]) -> Result<Comparison> {
    let Some(seen) = model.seen(frame) else { return Ok(Comparison::Unseen) };
    let decision = model.decide(Way::Xdp, frame);
    let wall = decision.is_some_and(|decision| decision.outcome.fate() != Fate::Passed);
    let nftables = refuses(model.ruleset(), &seen.facts);
    match (wall, nftables) {
        (true, true) => Ok(Comparison::BothRefuse),
        (false, false) => Ok(Comparison::BothPass),
        _ => named(decision, nftables, &seen)
            .with_context(|| format!("eBPF: {decision:?}, nftables refuses it: {nftables}; {seen:?}")),
    }
}

/// The kind of a packet that one layer refuses and the other passes, if it is one of those on which they may differ.
fn named(decision: Option<Decision>, nftables: bool, seen: &Seen) -> Option<Comparison> {
    match (decision.map(|decision| decision.outcome.reason()), seen.facts.transport) {
        (_, Truncated(_) | Unknown) if nftables => seen.oddity.map(|oddity| match oddity {
            Oddity::Nested => Comparison::NestedFragment,
            Oddity::Cut => Comparison::CutByLength,
        }),
        _ if nftables => None,
        (Some(Reason::Extension), _) => Some(Comparison::ManyHeaders),
        // nftables follows a header of which two bytes are left.
        (Some(Reason::Truncated | Reason::Fragment), Truncated(_) | Unknown) if seen.oddity == Some(Oddity::Cut) => {
            Some(Comparison::CutByLength)
        }
        (_, Port(AUTHENTICATION, _) | Truncated(AUTHENTICATION)) => Some(Comparison::Authenticated),
        _ if seen.is_lost => Some(Comparison::Lost),
        _ => None,
    }
}

/// Prerouting, and the hook that comes after it for this destination; no NAT in between.
fn refuses(ruleset: &Ruleset, facts: &PacketFacts) -> bool {
    let onward = facts.destination == AddressType::Unicast;
    let next = if onward { Hook::Forward } else { Hook::Input };
    let egress = onward.then(|| "uplink0".parse().expect("a name"));
    [(Hook::Prerouting, None), (next, egress)].into_iter().any(|(hook, egress)| {
        let facts = PacketFacts { hook, egress, ..facts.clone() };
        let would_drop =
            |rule: &&Rule| matches!(rule.counter, Some(CounterName::Refused(Refused { observed: true, .. })));
        ruleset.evaluate(&facts) == Verdict::Drop || ruleset.trace(&facts).iter().any(would_drop)
    })
}
