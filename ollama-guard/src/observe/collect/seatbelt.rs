//! The nftables layer as the kernel has it, and what its counters tell about the other layer.

use super::interfaces::Seen;
use crate::datapath::State;
use crate::links::Kind;
use crate::observe::snapshot::{Attachment, Problem, Seatbelt, SeatbeltState, Severity, Snapshot};
use crate::plan::class::Placements;
use crate::reconcile::{Host, ruleset};
use crate::seatbelt::{Condition, SeatbeltStatus, TABLE, read_status};

/// Fills the snapshot's seatbelt; its interfaces must be filled already.
pub(super) fn collect(snapshot: &mut Snapshot, seen: &Seen<'_>) {
    let policy = &seen.state.policy;
    snapshot.seatbelt.repairs = seen.state.repairs;
    let State { derived, judged, .. } = seen.state;
    let host = Host { links: seen.links, placements: seen.placements, derived, judged };
    match read_status(TABLE, &ruleset(policy, &host)) {
        Ok(status) => {
            let status = coming(seen).filter(|coming| coming.intact && !status.intact).unwrap_or(status);
            let chains = status.dropped_by_chain.iter();
            snapshot.seatbelt.dropped = chains.map(|(chain, count)| ((*chain).to_owned(), count.packets)).collect();
            snapshot.problems.extend(bypasses(snapshot, seen, &status));
            snapshot.problems.extend(remapped(&status));
            snapshot.seatbelt.owned = status.owner.is_some();
            snapshot.seatbelt.state = state(status, seen.state.allow_elided);
        }
        Err(error) => {
            snapshot.seatbelt =
                Seatbelt { state: SeatbeltState::Unknown(error.to_string()), ..snapshot.seatbelt.clone() }
        }
    }
}

/// The table, held against the policy that takes this one's place.
fn coming(seen: &Seen<'_>) -> Option<SeatbeltStatus> {
    let coming = seen.state.coming.as_ref()?;
    let placements = Placements::new(&coming.policy, seen.links);
    let host =
        Host { links: seen.links, placements: &placements, derived: &coming.derived, judged: &seen.state.judged };
    let mut status = read_status(TABLE, &ruleset(&coming.policy, &host)).ok()?;
    if coming.allow_elided && status.installed {
        (status.intact, status.condition) = (true, Condition::Intact);
    }
    Some(status)
}

/// An allow-list that was too long to write down cannot be compared.
fn state(status: SeatbeltStatus, elided: bool) -> SeatbeltState {
    match status.condition {
        Condition::Missing => SeatbeltState::Missing,
        Condition::Differs(differences) if !elided => SeatbeltState::Altered(differences.join("; ")),
        Condition::Intact | Condition::Differs(_) => SeatbeltState::Intact,
    }
}

/// What prerouting drops on an interface with a program should have been dropped there, if the program was there.
fn bypasses(snapshot: &Snapshot, seen: &Seen<'_>, status: &SeatbeltStatus) -> Vec<Problem> {
    let Some(dropped) = status.dropped_by_interface.get("prerouting") else { return Vec::new() };
    let bridges_first = frames_inside_bridges_meet_it_first();
    let is_first = |name: &str| {
        let is_bridge = |link: &crate::links::Link| link.name.as_str() == name && link.kind == Kind::Bridge;
        let left = seen.state.judged.iter().any(|judged| judged.as_str() == name);
        left || bridges_first && seen.links.iter().any(is_bridge)
    };
    let attached =
        snapshot.interfaces.iter().filter(|interface| matches!(interface.attachment, Attachment::Attached { .. }));
    let caught = attached.filter(|interface| !is_first(&interface.name)).filter_map(|interface| {
        let before = seen.state.caught_before.get(&interface.name).copied().unwrap_or(0);
        Some((interface, dropped.get(&interface.name)?.packets.saturating_sub(before)))
    });
    caught
        .filter(|(_, packets)| *packets > 0)
        .map(|(interface, packets)| Problem {
            severity: Severity::Warning,
            subject: interface.name.clone(),
            problem: format!(
                "nftables caught {packets} packets that the eBPF program there should have dropped: they found a way \
                 around it"
            ),
            next_step: "if the number keeps growing, please report it with the output of `nft list ruleset`".to_owned(),
        })
        .collect()
}

/// With `br_netfilter` a frame passes nftables in the bridge, before traffic control sees it on the bridge device.
fn frames_inside_bridges_meet_it_first() -> bool {
    let is_on = |key: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{key}")).is_ok_and(|on| on.trim() == "1")
    };
    is_on("iptables") || is_on("ip6tables")
}

/// What input and forward drop had another port when it arrived.
fn remapped(status: &SeatbeltStatus) -> Option<Problem> {
    let count = |chain| status.dropped_by_chain.get(chain).map_or(0, |count| count.packets);
    let packets = count("input") + count("forward");
    (packets > 0).then(|| Problem {
        severity: Severity::Warning,
        subject: "nftables".to_owned(),
        problem: format!(
            "{packets} packets reached a guarded port through another one and were dropped by inet {TABLE}: some rule \
             (Docker's `-p OTHER:PORT`, a redirect) maps a port to a guarded one"
        ),
        next_step: "nothing, they are dropped; to see which port, look for dnat and redirect in `nft list ruleset`"
            .to_owned(),
    })
}
