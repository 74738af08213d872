//! The table proper: which rows, which columns, and what gives way on a narrow terminal.

use std::collections::BTreeSet;

use ollama_guard_common::Fate;

use super::super::columns::{Align, Columns, GAP};
use super::super::snapshot::{Attachment, Interface, LastDrop, SeatbeltState, Snapshot};
use super::super::terminal::Tone;
use super::super::text::{ago, grouped, joined, printable};
use super::{Earlier, Options, attached};
use crate::class::Class;
use crate::policy::{Access, Mode};

/// Tables up to this long are shown whole, but for the ports of bridges; in longer ones quiet interfaces are folded into
/// one line.
const WHOLE: usize = 16;

pub(super) struct Table {
    pub(super) lines: Vec<(String, Option<Tone>)>,
    /// Width of the first column with its gap, to align what stands below.
    pub(super) first_column: usize,
}

/// What is left out, step by step, until the table fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Narrow {
    Everything,
    NoDropSource,
    NoHook,
    NoLastDrop,
    NoClass,
}

pub(super) fn table(snapshot: &Snapshot, earlier: Option<Earlier<'_>>, options: Options) -> Table {
    let (shown, hidden) = folded(snapshot, options.all);
    let steps = [Narrow::Everything, Narrow::NoDropSource, Narrow::NoHook, Narrow::NoLastDrop, Narrow::NoClass];
    let mut candidates = steps.map(|narrow| columns(&shown, snapshot, earlier, narrow)).into_iter();
    let fits = |columns: &Columns| options.style.width.is_none_or(|width| columns.width() <= width);
    let narrowest = candidates.next_back().unwrap_or_default();
    let columns = candidates.find(fits).unwrap_or(narrowest);

    let tones = std::iter::once(Some(Tone::Faint)).chain(shown.iter().map(|interface| tone(interface)));
    let mut lines: Vec<_> = columns.lines().into_iter().zip(tones).collect();
    lines.extend(hidden.map(|line| (line, Some(Tone::Faint))));
    let names = shown.iter().map(|interface| printable(&interface.name).chars().count());
    Table { lines, first_column: names.chain(["INTERFACE".len()]).max().unwrap_or_default() + GAP }
}

/// The rows to show, and a line about those left out: the ports of bridges, and in a long table every quiet interface.
fn folded(snapshot: &Snapshot, all: bool) -> (Vec<&Interface>, Option<String>) {
    let may_fold = |interface: &&Interface| !all && quiet(interface);
    let (ports, rest): (Vec<_>, Vec<_>) =
        snapshot.interfaces.iter().partition(|interface| interface.master.is_some() && may_fold(interface));
    let is_long = rest.len() > WHOLE;
    let (quiet, shown): (Vec<_>, Vec<_>) = rest.into_iter().partition(|interface| is_long && may_fold(interface));
    let bridges: BTreeSet<_> = ports.iter().filter_map(|port| port.master.as_deref()).map(printable).collect();
    let count = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{} {many}", grouped(number as u64))),
    };
    let of = match bridges.len() {
        0..=3 => joined(&bridges, ", "),
        many => format!("{many} bridges"),
    };
    let ports = count(ports.len(), "port", "ports").map(|ports| format!("{ports} of {of}"));
    let quiet = count(quiet.len(), "quiet interface", "quiet interfaces");
    let hidden: Vec<_> = ports.into_iter().chain(quiet).collect();
    let line = (!hidden.is_empty()).then(|| format!("… and {}; --all shows them", hidden.join(", ")));
    (shown, line)
}

/// Nothing to see: no card of this machine, closed as it should be, and no packet came.
fn quiet(interface: &Interface) -> bool {
    let as_it_should_be = !matches!(interface.attachment, Attachment::Missing(_));
    let silent = interface.counters.iter().all(|counter| counter.packets == 0);
    interface.class != Class::Trusted && !interface.physical && as_it_should_be && silent
}

fn tone(interface: &Interface) -> Option<Tone> {
    match interface.attachment {
        Attachment::Attached { .. } => None,
        Attachment::NotNeeded(_) | Attachment::Member(_) => Some(Tone::Faint),
        Attachment::Missing(_) => Some(Tone::Bad),
    }
}

fn columns(shown: &[&Interface], snapshot: &Snapshot, earlier: Option<Earlier<'_>>, narrow: Narrow) -> Columns {
    let mut columns = Columns::default();
    columns.add("INTERFACE", Align::Left, shown.iter().map(|i| printable(&i.name)));
    columns.add("PORT", Align::Left, shown.iter().map(|i| access(i, snapshot)));
    if narrow < Narrow::NoClass {
        columns.add("CLASS", Align::Left, shown.iter().map(|i| i.class.to_string()));
    }
    if narrow < Narrow::NoHook {
        columns.add("HOOK", Align::Left, shown.iter().map(|i| hook(i)));
    }
    let mut counts = |heading: &str, fate| {
        columns.add(heading, Align::Right, shown.iter().map(|i| packets(i, fate)));
        if let Some(earlier) = earlier {
            columns.add("PER S", Align::Right, shown.iter().map(|i| rate(i, fate, earlier)));
        }
    };
    counts("PASSED", Fate::Passed);
    if snapshot.mode == Mode::Observe || shown.iter().any(|i| i.count(Fate::WouldDrop).packets > 0) {
        counts("WOULD DROP", Fate::WouldDrop);
    }
    counts("DROPPED", Fate::Dropped);
    if narrow < Narrow::NoLastDrop {
        let heading = if snapshot.mode == Mode::Observe { "LAST WOULD DROP" } else { "LAST DROP" };
        columns.add(heading, Align::Left, shown.iter().map(|i| last_drop(i, narrow < Narrow::NoDropSource)));
    }
    columns
}

/// Open or closed, as far as this interface goes.
fn access(interface: &Interface, snapshot: &Snapshot) -> String {
    let covered = snapshot.layers.seatbelt && snapshot.seatbelt.state == SeatbeltState::Intact;
    let missing = matches!(interface.attachment, Attachment::Missing(_)) || !snapshot.layers.wall;
    match interface.access {
        _ if interface.index.is_none() => "-".to_owned(),
        Access::Closed | Access::AllowList if missing && !covered => "OPEN".to_owned(),
        access => access.as_str().to_owned(),
    }
}

fn hook(interface: &Interface) -> String {
    match &interface.attachment {
        Attachment::Attached { hook, .. } => hook.as_str().to_owned(),
        Attachment::NotNeeded(why) | Attachment::Member(why) => printable(why),
        Attachment::Missing(_) => "NONE".to_owned(),
    }
}

fn packets(interface: &Interface, fate: Fate) -> String {
    let is_member = matches!(interface.attachment, Attachment::Member(_));
    if attached(&interface.attachment) || is_member && !interface.counters.is_empty() {
        grouped(interface.count(fate).packets)
    } else {
        "-".to_owned()
    }
}

fn rate(interface: &Interface, fate: Fate, earlier: Earlier<'_>) -> String {
    // The index too: a new interface may have an old one's name, and counts from zero.
    let same = |other: &&Interface| other.name == interface.name && other.index == interface.index;
    let before = earlier.snapshot.interfaces.iter().find(same).filter(|_| attached(&interface.attachment));
    let Some(before) = before else { return "-".to_owned() };
    let packets = interface.count(fate).packets.saturating_sub(before.count(fate).packets);
    let milliseconds = earlier.elapsed.as_millis().max(1);
    let per_second = u128::from(packets) * 1_000 / milliseconds;
    grouped(u64::try_from(per_second).unwrap_or(u64::MAX))
}

fn last_drop(interface: &Interface, with_source: bool) -> String {
    match interface.last_drop {
        Some(last) => when(last, with_source),
        None => "-".to_owned(),
    }
}

fn when(last: LastDrop, with_source: bool) -> String {
    match last.source {
        Some(source) if with_source => format!("{} from {source}", ago(last.age)),
        _ => ago(last.age),
    }
}
