//! A policy in words.

use crate::exporter::web::Asks;
use crate::observe::text::{counted, grouped, joined, services};
use crate::policy::{
    Allow, Attach, AttachPolicy, ContainerAccess, Forwarded, Layers, Listen, Mode, NamePattern, Paths, Policy, Profile,
    SourceLimits,
};

/// What the policy means, one fact per line, for people. A key that is not described does not compile.
pub fn describe(policy: &Policy, web: Option<&Asks>) -> String {
    let Policy {
        profile,
        mode,
        layers,
        ollama,
        services: guarded,
        trusted,
        containers,
        container_access: access,
        count_loopback,
        forwarded: onward,
        allow,
        attach: hooks,
        sources: SourceLimits { tracked, exported },
        metrics,
        web_config,
        paths: Paths { bpf, run },
    } = policy;
    let mut lines = vec![("guarded", services(guarded))];
    if !ollama {
        lines.push(("", "only what a [[service]] names: ollama = false".to_owned()));
    }
    lines.push(("profile", self::profile(*profile).to_owned()));
    lines.push(("mode", self::mode(*mode).to_owned()));
    lines.push(("layers", self::layers(*layers).to_owned()));
    lines.push(("trusted", patterns(trusted)));
    lines.push(("containers", patterns(containers)));
    lines.push(("", container_access(*access, allow).to_owned()));
    lines.push(("everything else", everything_else(*mode, *layers).to_owned()));
    lines.extend(allows(allow));
    lines.push(("forwarded", forwarded(*onward).to_owned()));
    lines.extend(attach(hooks));
    lines.push(("on lo", if *count_loopback { "counted too" } else { "not counted" }.to_owned()));
    let (tracked, exported) = (grouped(u64::from(*tracked)), grouped(u64::from(*exported)));
    lines.push(("sources", format!("{tracked} tracked, {exported} of them in the metrics")));
    lines.push(("metrics", self::metrics(metrics.as_ref(), web)));
    if let Some(file) = web_config {
        lines.push(("", format!("{}: {}", file.display(), asks(web))));
    }
    lines.push(("directories", format!("{}, {}", bpf.display(), run.display())));
    lines.into_iter().map(|(what, words)| format!("{what:<17}{words}\n")).collect::<Vec<_>>().concat()
}

const fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::Local => "local: trusts this machine",
        Profile::Vpn => "vpn: trusts this machine, Tailscale and WireGuard",
        Profile::Lan => "lan: trusts this machine, Tailscale and WireGuard, and allows private addresses",
    }
}

fn metrics(listen: Option<&Listen>, web: Option<&Asks>) -> String {
    let scheme = if web.is_some_and(|asks| asks.tls) { "https" } else { "http" };
    match listen {
        None => "off".to_owned(),
        Some(Listen::Tcp(address)) => format!("{scheme}://{address}/metrics"),
        Some(socket @ Listen::Unix(_)) => socket.to_string(),
    }
}

/// What the web configuration asks of whoever connects.
fn asks(web: Option<&Asks>) -> String {
    let Some(Asks { tls, client_certificates, users }) = web else { return "not read".to_owned() };
    let asked = [
        tls.then(|| "TLS".to_owned()),
        client_certificates.then(|| "a client certificate".to_owned()),
        (*users > 0).then(|| format!("a password ({})", counted(*users as u64, "user"))),
    ];
    let asked: Vec<_> = asked.into_iter().flatten().collect();
    if asked.is_empty() { "asks for nothing".to_owned() } else { asked.join(", ") }
}

const fn everything_else(mode: Mode, layers: Layers) -> &'static str {
    match (mode, layers) {
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

fn container_access(access: ContainerAccess, allows: &[Allow]) -> &'static str {
    match access {
        ContainerAccess::Deny if allows.iter().any(|allow| !allow.implied) => {
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

fn allow(Allow { source, interface, service, comment, implied: _ }: &Allow) -> String {
    let interface = interface.as_ref().map(|name| format!(" if it arrives on {name}")).unwrap_or_default();
    let service = service.as_ref().map(|name| format!(" to {name}")).unwrap_or_default();
    let comment = comment.as_ref().map(|text| format!(" ({})", text.escape_debug())).unwrap_or_default();
    format!("from {source}{service}{interface}{comment}")
}

fn attach(AttachPolicy { default, per_interface }: &AttachPolicy) -> Vec<(&'static str, String)> {
    let word = |hook| match hook {
        Attach::Auto => "automatic: native XDP where it costs nothing, else TC",
        Attach::Xdp => "native XDP",
        Attach::XdpGeneric => "generic XDP",
        Attach::Tc => "TC",
        Attach::Clsact => "TC by a clsact filter",
    };
    let exceptions = per_interface.iter().map(|(name, hook)| ("", format!("{name}: {}", word(*hook))));
    std::iter::once(("hook", word(*default).to_owned())).chain(exceptions).collect()
}
