//! What stands below the table: reasons for hooks, and advice where a setting is likely not what was meant.

use std::fmt::{self, Write};

use ollama_guard_common::{Fate, Reason};

use super::super::snapshot::{Attachment, Interface, Snapshot};
use super::super::terminal::{Style, Tone};
use super::super::text::{ago, counted, grouped, joined, packets, printable};
use super::paragraph;
use crate::class::Class;
use crate::findings::TurnedAway;
use crate::policy::{ContainerAccess, Mode};

/// Why each hook was chosen.
pub(super) fn hooks(out: &mut impl Write, snapshot: &Snapshot) -> fmt::Result {
    let why = |interface: &Interface| match &interface.attachment {
        Attachment::Attached { hook, why } if !why.is_empty() => {
            Some(format!("  {}: {}: {why}", printable(&interface.name), hook.as_str()))
        }
        _ => None,
    };
    let reasons: Vec<_> = snapshot.interfaces.iter().filter_map(why).collect();
    if !reasons.is_empty() {
        writeln!(out, "\nhooks\n{}", reasons.join("\n"))?;
    }
    Ok(())
}

/// Ports that are guarded because they lead to a guarded one.
pub(super) fn derived(out: &mut impl Write, snapshot: &Snapshot, width: usize, style: Style) -> fmt::Result {
    for (nth, port) in snapshot.derived.iter().enumerate() {
        let (tone, end) = if port.refused.is_none() { (None, "") } else { (Some(Tone::Bad), " · OPEN") };
        let heading = if nth == 0 { "derived" } else { "" };
        let line = format!("{heading:width$}{}{end}", printable(&port.to_string()));
        writeln!(out, "{}", style.tone(&line, tone))?;
    }
    Ok(())
}

/// What somebody removed or changed and is as before, if there was anything.
pub(super) fn repairs(out: &mut impl Write, snapshot: &Snapshot, width: usize) -> fmt::Result {
    let Some(last) = &snapshot.last_repair else { return Ok(()) };
    let all = snapshot.hook_repairs + snapshot.seatbelt.repairs;
    let times = if all > 1 { format!(" · {} repairs in all", grouped(all)) } else { String::new() };
    writeln!(
        out,
        "{:width$}somebody removed or changed {}, {}{times}",
        "repaired",
        printable(&last.what),
        ago(last.age)
    )
}

/// What is not known of sources, if there is anything.
pub(super) fn sources(out: &mut impl Write, snapshot: &Snapshot, width: usize) -> fmt::Result {
    let since = snapshot.unattributed_for.map(|age| format!(" (first noticed {})", ago(age))).unwrap_or_default();
    let unattributed = (snapshot.unattributed_packets > 0)
        .then(|| format!("{} from untracked sources{since}", packets(snapshot.unattributed_packets)));
    let evicted =
        (snapshot.source_evictions > 0).then(|| format!("{} made room for others", grouped(snapshot.source_evictions)));
    let lost = (snapshot.events_lost > 0).then(|| format!("{} not sent", counted(snapshot.events_lost, "event")));
    let unknown: Vec<_> = [unattributed, evicted, lost].into_iter().flatten().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:width$}{} tracked · {}", "sources", grouped(snapshot.sources_tracked), unknown.join(" · "))?;
    let meaning = "more sources at once than are tracked, as in a flood of forged addresses; all their packets are counted \
                   above";
    writeln!(out, "{:width$}{meaning}", "")
}

/// What to change in the configuration if what happens is not what was meant.
pub(super) fn advice(out: &mut impl Write, snapshot: &Snapshot, style: Style) -> fmt::Result {
    let config = snapshot.config.display();
    if snapshot.mode == Mode::Observe {
        let would: u64 = snapshot.interfaces.iter().map(|i| i.count(Fate::WouldDrop).packets).sum();
        let head = format!(
            "observe mode: {} that would have been dropped {} let through",
            packets(would),
            if would == 1 { "was" } else { "were" }
        );
        let next = format!("to drop them: mode = \"enforce\" in {config}, then reload");
        paragraph::write(out, &head, Some(Tone::Bad), &next, style)?;
    }
    let refusing: Vec<_> = snapshot.interfaces.iter().filter(|interface| refused(interface) > 0).collect();
    if snapshot.container_access == ContainerAccess::Deny && !refusing.is_empty() {
        let bridges = joined(refusing.iter().map(|interface| printable(&interface.name)), ", ");
        let refused = refusing.iter().map(|interface| refused(interface)).sum();
        let verb = match (snapshot.mode, refused) {
            (Mode::Observe, _) => "would have been",
            (Mode::Enforce, 1) => "was",
            (Mode::Enforce, _) => "were",
        };
        let head =
            format!("{} from containers on {bridges} to this host's guarded ports {verb} dropped", packets(refused));
        let next = format!("to allow them: container_access = \"allow\" under [interfaces] in {config}, then reload");
        paragraph::write(out, &head, None, &next, style)?;
    }
    snapshot.turned_away.as_ref().map_or(Ok(()), |away| turned_away(out, snapshot, away, style))
}

/// A private address may be a device of the one who reads this: the ways to let it in, and the lines to write.
fn turned_away(out: &mut impl Write, snapshot: &Snapshot, away: &TurnedAway, style: Style) -> fmt::Result {
    let TurnedAway { source, interface, packets: dropped, others, vpn, routed_to } = away;
    let verb = match (snapshot.mode, *dropped) {
        (Mode::Observe, _) => "would have been",
        (Mode::Enforce, 1) => "was",
        (Mode::Enforce, _) => "were",
    };
    let others = match others {
        0 => String::new(),
        1 => " (1 more private address too)".to_owned(),
        more => format!(" ({} more private addresses too)", grouped(*more)),
    };
    let head = format!("{} from the private address {source} on {interface} {verb} dropped{others}", packets(*dropped));
    let config = snapshot.config.display();
    let over = vpn.as_ref().map(|vpn| format!("connect it by the VPN ({vpn}), or ")).unwrap_or_default();
    let routed = routed_to.as_ref().map(|vpn| {
        format!(
            "if its packets are for another machine behind {vpn}: write forwarded = \"pass\" at the top of {config}; "
        )
    });
    let routed = routed.unwrap_or_default();
    let next = format!("{routed}if it is yours: {over}add to {config} and reload:");
    paragraph::write(out, &head, None, &next, style)?;
    paragraph::verbatim(out, &["[[allow]]", &format!("source = \"{source}\""), &format!("interface = \"{interface}\"")])
}

/// Packets of containers that `container_access` decided about.
fn refused(interface: &Interface) -> u64 {
    let by_policy = interface.counters.iter().filter(|counter| {
        interface.class == Class::Container
            && counter.outcome.fate() != Fate::Passed
            && counter.outcome.reason() == Reason::Untrusted
    });
    by_policy.map(|counter| counter.packets).sum()
}
