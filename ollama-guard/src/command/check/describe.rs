//! A policy in words.

use crate::observe::text::{grouped, joined, services};
use crate::policy::{
    Allow, Attach, AttachPolicy, ContainerAccess, Forwarded, Layers, Listen, Mode, NamePattern, Policy,
};

/// What the policy means, one fact a line, for people.
pub fn describe(policy: &Policy) -> String {
    let mut lines = vec![("guarded", services(&policy.services))];
    lines.push(("mode", mode(policy.mode).to_owned()));
    lines.push(("layers", layers(policy.layers).to_owned()));
    lines.push(("trusted", patterns(&policy.trusted)));
    lines.push(("containers", patterns(&policy.containers)));
    lines.push(("", container_access(policy).to_owned()));
    lines.push(("everything else", everything_else(policy).to_owned()));
    lines.extend(allows(&policy.allow));
    lines.push(("forwarded", forwarded(policy.forwarded).to_owned()));
    lines.extend(attach(&policy.attach));
    let loopback = if policy.count_loopback { "counted too" } else { "not counted" };
    lines.push(("on lo", loopback.to_owned()));
    let (tracked, exported) = (u64::from(policy.sources.tracked), u64::from(policy.sources.exported));
    lines.push(("sources", format!("{} remembered, {} of them in the metrics", grouped(tracked), grouped(exported))));
    let metrics = match &policy.metrics {
        None => "off".to_owned(),
        Some(Listen::Tcp(address)) => format!("http://{address}/metrics"),
        Some(socket @ Listen::Unix(_)) => socket.to_string(),
    };
    lines.push(("metrics", metrics));
    lines.push(("directories", format!("{}, {}", policy.paths.bpf.display(), policy.paths.run.display())));
    lines.into_iter().map(|(what, words)| format!("{what:<17}{words}\n")).collect::<Vec<_>>().concat()
}

const fn everything_else(policy: &Policy) -> &'static str {
    match (policy.mode, policy.layers) {
        (_, Layers { wall: false, seatbelt: false }) => "NOT DROPPED: both layers are switched off",
        (Mode::Observe, _) => "counted, NOT DROPPED, now and on interfaces that appear later",
        (Mode::Enforce, _) => "dropped, now and on interfaces that appear later",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce: what is not allowed is dropped",
        Mode::Observe => "OBSERVE: what is not allowed is counted, and NOTHING IS DROPPED",
    }
}

const fn layers(layers: Layers) -> &'static str {
    match (layers.wall, layers.seatbelt) {
        (true, true) => "eBPF programs and nftables",
        (true, false) => "eBPF programs; nftables is SWITCHED OFF",
        (false, true) => "nftables; the eBPF programs are SWITCHED OFF",
        (false, false) => "NONE: both are switched off",
    }
}

fn container_access(policy: &Policy) -> &'static str {
    match policy.container_access {
        ContainerAccess::Deny if policy.allow.iter().any(|allow| !allow.implied) => {
            "may not reach the guarded ports of this host, with the exceptions below; elsewhere they may"
        }
        ContainerAccess::Deny => "may not reach the guarded ports of this host; elsewhere they may",
        ContainerAccess::Allow => "may reach the guarded ports of this host and elsewhere",
    }
}

const fn forwarded(forwarded: Forwarded) -> &'static str {
    match forwarded {
        Forwarded::Drop => "like everything else: packets to a guarded port of another machine or of a container",
        Forwarded::Pass => "passed: packets to a guarded port of another machine or of a container",
    }
}

fn patterns(patterns: &[NamePattern]) -> String {
    if patterns.is_empty() { "none".to_owned() } else { joined(patterns, ", ") }
}

/// A generated allow-list may have a hundred thousand entries.
const MOST_ALLOWS: usize = 100;

fn allows(allows: &[Allow]) -> Vec<(&'static str, String)> {
    // The profile's six belong together in a reader's mind.
    let (implied, rest): (Vec<_>, Vec<_>) = allows.iter().partition(|allow| allow.implied);
    let private = joined(implied.iter().map(|allow| allow.source), ", ");
    let profile = (!implied.is_empty())
        .then(|| format!("from private addresses ({private}), unless a container's: profile = \"lan\""));
    let hidden = rest.len().saturating_sub(MOST_ALLOWS);
    let more = (hidden > 0).then(|| format!("and {} more; --json lists them", grouped(hidden as u64)));
    let words: Vec<_> =
        profile.into_iter().chain(rest.iter().copied().take(MOST_ALLOWS).map(allow)).chain(more).collect();
    let label = |nth| if nth == 0 { "except" } else { "" };
    words.into_iter().enumerate().map(|(nth, words)| (label(nth), words)).collect()
}

fn allow(allow: &Allow) -> String {
    let interface = allow.interface.as_ref().map(|name| format!(" if it arrives on {name}")).unwrap_or_default();
    let service = allow.service.as_ref().map(|name| format!(" to {name}")).unwrap_or_default();
    let comment = allow.comment.as_ref().map(|text| format!(" ({})", text.escape_debug())).unwrap_or_default();
    format!("from {}{service}{interface}{comment}", allow.source)
}

fn attach(attach: &AttachPolicy) -> Vec<(&'static str, String)> {
    let word = |hook| match hook {
        Attach::Auto => "automatic: native XDP where it costs nothing, else TC",
        Attach::Xdp => "native XDP",
        Attach::XdpGeneric => "generic XDP",
        Attach::Tc => "TC",
        Attach::Clsact => "TC by a clsact filter",
    };
    let exceptions = attach.per_interface.iter().map(|(name, hook)| ("", format!("{name}: {}", word(*hook))));
    std::iter::once(("hook", word(attach.default).to_owned())).chain(exceptions).collect()
}
