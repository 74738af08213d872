//! One row per interface: what should be there, what is, and what it counted.

use std::collections::BTreeSet;

use crate::class::Class;
use crate::datapath::{self, Point, ProgramKey, Reading, State};
use crate::links::{Link, Links, XdpMode};
use crate::observe::snapshot::{Attachment, Counter, Interface, LastDrop, Problem, Severity};
use crate::plan::class::{NotCounted, Note, Placement, Placements, Waiting};
use crate::plan::hook::Hook;
use crate::policy::{Access, NamePattern};

/// Everything a row is made of.
pub(super) struct Seen<'a> {
    pub(super) state: &'a State,
    pub(super) links: &'a Links,
    pub(super) placements: &'a Placements,
    pub(super) attachments: &'a [datapath::Attachment],
    pub(super) elsewhere: &'a BTreeSet<u32>,
    pub(super) reading: &'a Reading,
}

/// Guarded first, then containers, then trusted; trusted names without an interface last.
pub(super) fn collect(seen: &Seen<'_>) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = seen.links.iter().map(|link| row(seen, link)).collect();
    interfaces.extend(absent(seen));
    let rank = |class| match class {
        Class::Guarded => 0,
        Class::Container => 1,
        Class::Trusted => 2,
    };
    interfaces.sort_by_key(|interface| {
        (rank(interface.class), interface.index.is_none(), interface.name == "lo", interface.index)
    });
    interfaces
}

/// What the policy did with an interface that its user might not expect.
pub(super) fn notices(seen: &Seen<'_>) -> Vec<Problem> {
    let mut notices = Vec::new();
    for link in seen.links.iter() {
        let Some(Placement::Attach(_, notes)) = seen.placements.get(link.index) else { continue };
        notices.extend(notes.iter().filter(|note| note.is_warning()).map(|note| Problem {
            severity: Severity::Warning,
            subject: link.name.to_string(),
            problem: note.to_string(),
            next_step: note.next_step().to_owned(),
        }));
    }
    notices.extend(seen.attachments.iter().filter_map(|attachment| behind(seen, attachment)));
    notices
}

/// Somebody's filters that see packets first: what they take or accept, ours never sees.
fn behind(seen: &Seen<'_>, attachment: &datapath::Attachment) -> Option<Problem> {
    let link = seen.links.get(attachment.interface).filter(|_| !attachment.behind.is_empty())?;
    Some(Problem {
        severity: Severity::Warning,
        subject: link.name.to_string(),
        problem: format!("another program sees packets first ({})", attachment.behind.join(", ")),
        next_step: "what it accepts only the nftables layer stops; if it is not needed, remove it (bpftool net show, tc filter show)"
            .to_owned(),
    })
}

fn row(seen: &Seen<'_>, link: &Link) -> Interface {
    let (class, attachment) = match seen.placements.get(link.index) {
        Some(Placement::Attach(class, _)) if !seen.state.policy.layers.wall => {
            (*class, Attachment::NotNeeded("eBPF off".to_owned()))
        }
        Some(Placement::Attach(class, notes)) => (*class, explained(attachment(seen, link, *class), notes)),
        Some(Placement::LeftToMaster(master)) => (Class::Guarded, Attachment::NotNeeded(in_master(seen, *master))),
        Some(Placement::Member { master, class }) => (*class, member(seen, link, *master, *class)),
        Some(Placement::Waiting(Waiting::Up)) => (Class::Guarded, Attachment::NotNeeded("down".to_owned())),
        Some(Placement::NotCounted(NotCounted::Loopback)) => {
            (Class::Trusted, Attachment::NotNeeded("not counted".to_owned()))
        }
        Some(Placement::NotCounted(NotCounted::Vrf)) => {
            (Class::Guarded, Attachment::NotNeeded("judged on its members".to_owned()))
        }
        None => (Class::Guarded, Attachment::Missing("it appeared this instant".to_owned())),
    };
    let master = match seen.placements.get(link.index) {
        Some(Placement::LeftToMaster(master) | Placement::Member { master, .. }) => {
            seen.links.get(*master).map(|master| master.name.to_string())
        }
        _ => None,
    };
    let counted = seen.reading.interfaces.get(&link.index);
    let counters = counted.into_iter().flat_map(|counted| &counted.counters);
    Interface {
        name: link.name.to_string(),
        index: Some(link.index),
        physical: link.physical,
        master,
        class,
        access: seen.state.policy.access(class, &link.name),
        attachment,
        counters: counters
            .map(|(&(service, outcome), counter)| Counter {
                service: seen.state.services.name(service).map(ToString::to_string),
                outcome,
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect(),
        last_drop: counted
            .and_then(|counted| counted.last_drop)
            .map(|last| LastDrop { source: last.source, age: last.ago }),
    }
}

fn in_master(seen: &Seen<'_>, master: u32) -> String {
    seen.links.get(master).map_or_else(String::new, |master| format!("in {}", master.name))
}

/// A member that has its program, or that may do without ([`Choice::member`]), is its master's affair.
///
/// [`Choice::member`]: crate::plan::hook::Choice::member
fn member(seen: &Seen<'_>, link: &Link, master: u32, class: Class) -> Attachment {
    let found = seen.attachments.iter().any(|attachment| attachment.interface == link.index);
    let wanted = seen.state.policy.layers.wall && (found || !link.kind.is_shaped_by_its_maker());
    match attachment(seen, link, class) {
        Attachment::Missing(why) if wanted => Attachment::Missing(why),
        Attachment::Attached { .. } => Attachment::Member(in_master(seen, master)),
        _ => Attachment::NotNeeded(in_master(seen, master)),
    }
}

/// With what decided about the class, where that is no warning.
fn explained(attachment: Attachment, notes: &[Note]) -> Attachment {
    match attachment {
        Attachment::Attached { hook, mut why } => {
            for note in notes.iter().filter(|note| !note.is_warning()) {
                why = format!("{why}; {note}");
            }
            Attachment::Attached { hook, why }
        }
        other => other,
    }
}

const NOTHING: &str = "nothing has been attached";
const ELSEWHERE: &str = "its pin holds a program on an interface of another network namespace; the guard of each \
                         namespace needs a `paths.bpf` of its own";

/// `class` is what the policy calls for by the interface's present name and kind; what is attached may be behind.
fn attachment(seen: &Seen<'_>, link: &Link, class: Class) -> Attachment {
    let Some(found) = seen.attachments.iter().find(|attachment| attachment.interface == link.index) else {
        return Attachment::Missing(if seen.elsewhere.contains(&link.index) { ELSEWHERE } else { NOTHING }.to_owned());
    };
    if !found.key.as_ref().is_some_and(|key| seen.state.programs.contains(key)) {
        return Attachment::Missing("it still has the program of an earlier policy".to_owned());
    }
    if !found.key.as_deref().is_some_and(|key| ProgramKey::is_of_class(key, class)) {
        return Attachment::Missing("it still has the program of another class of interfaces".to_owned());
    }
    let hook = match found.point {
        Point::Tcx => Hook::Tcx,
        Point::Clsact => Hook::Clsact,
        Point::Xdp => match link.xdp.iter().find(|xdp| xdp.program_id == found.program).map(|xdp| xdp.mode) {
            Some(XdpMode::Native | XdpMode::Offload) => Hook::XdpNative,
            Some(XdpMode::Generic) => Hook::XdpGeneric,
            None => return Attachment::Missing("its link is there but the interface does not run it".to_owned()),
        },
    };
    let why = seen.state.hook_reasons.get(&link.index).cloned().unwrap_or_default();
    Attachment::Attached { hook, why }
}

/// Trusted names that people expect to see and that no interface bears.
fn absent(seen: &Seen<'_>) -> Vec<Interface> {
    let exact = seen.state.policy.trusted.iter().filter_map(|pattern| match pattern {
        NamePattern::Exact(name) => Some(name),
        NamePattern::Prefix(_) => None,
    });
    exact
        .filter(|name| !seen.links.iter().any(|link| link.name == **name))
        .map(|name| Interface {
            name: name.to_string(),
            index: None,
            physical: false,
            master: None,
            class: Class::Trusted,
            access: Access::Open,
            attachment: Attachment::NotNeeded("not present".to_owned()),
            counters: Vec::new(),
            last_drop: None,
        })
        .collect()
}
