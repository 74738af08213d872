//! The table proper: which rows, which columns, and what gives way on a narrow terminal.

use ollama_guard_common::Fate;

use super::super::columns::{Align, Columns, GAP};
use super::super::snapshot::{Attachment, Interface, LastDrop, Snapshot};
use super::super::terminal::Tone;
use super::super::text::{ago, grouped, printable};
use super::{Earlier, Options, attached};
use crate::class::Class;
use crate::policy::Mode;

/// Tables up to this long are shown whole; in longer ones the quiet interfaces are folded into one line.
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
    let fold = !options.all && snapshot.interfaces.len() > WHOLE;
    let shown: Vec<_> = snapshot.interfaces.iter().filter(|interface| !(fold && quiet(interface))).collect();
    let steps = [Narrow::Everything, Narrow::NoDropSource, Narrow::NoHook, Narrow::NoLastDrop, Narrow::NoClass];
    let mut candidates = steps.map(|narrow| columns(&shown, snapshot.mode, earlier, narrow)).into_iter();
    let fits = |columns: &Columns| options.style.width.is_none_or(|width| columns.width() <= width);
    let narrowest = candidates.next_back().unwrap_or_default();
    let columns = candidates.find(fits).unwrap_or(narrowest);

    let tones = std::iter::once(Some(Tone::Faint)).chain(shown.iter().map(|interface| tone(interface)));
    let mut lines: Vec<_> = columns.lines().into_iter().zip(tones).collect();
    let folded = snapshot.interfaces.len() - shown.len();
    if folded > 0 {
        let line =
            format!("… and {} interfaces without a packet to a guarded port; --all shows them", grouped(folded as u64));
        lines.push((line, Some(Tone::Faint)));
    }
    let names = shown.iter().map(|interface| printable(&interface.name).chars().count());
    Table { lines, first_column: names.chain(["INTERFACE".len()]).max().unwrap_or_default() + GAP }
}

/// Nothing to see: closed as it should be, and nobody came.
fn quiet(interface: &Interface) -> bool {
    let as_it_should_be = !matches!(interface.attachment, Attachment::Missing(_));
    let silent = interface.counters.iter().all(|counter| counter.packets == 0);
    interface.class != Class::Trusted && as_it_should_be && silent
}

fn tone(interface: &Interface) -> Option<Tone> {
    match interface.attachment {
        Attachment::Attached { .. } => None,
        Attachment::NotNeeded(_) => Some(Tone::Faint),
        Attachment::Missing(_) => Some(Tone::Bad),
    }
}

fn columns(shown: &[&Interface], mode: Mode, earlier: Option<Earlier<'_>>, narrow: Narrow) -> Columns {
    let mut columns = Columns::default();
    columns.add("INTERFACE", Align::Left, shown.iter().map(|i| printable(&i.name)));
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
    if mode == Mode::Observe || shown.iter().any(|i| i.count(Fate::WouldDrop).packets > 0) {
        counts("WOULD DROP", Fate::WouldDrop);
    }
    counts("DROPPED", Fate::Dropped);
    if narrow < Narrow::NoLastDrop {
        let heading = if mode == Mode::Observe { "LAST WOULD DROP" } else { "LAST DROP" };
        columns.add(heading, Align::Left, shown.iter().map(|i| last_drop(i, narrow < Narrow::NoDropSource)));
    }
    columns
}

fn hook(interface: &Interface) -> String {
    match &interface.attachment {
        Attachment::Attached { hook, .. } => hook.as_str().to_owned(),
        Attachment::NotNeeded(why) => why.clone(),
        Attachment::Missing(_) => "NONE".to_owned(),
    }
}

fn packets(interface: &Interface, fate: Fate) -> String {
    if attached(&interface.attachment) { grouped(interface.count(fate).packets) } else { "-".to_owned() }
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
    match &interface.last_drop {
        Some(LastDrop { source: Some(source), age }) if with_source => format!("{} from {source}", ago(*age)),
        Some(LastDrop { age, .. }) => ago(*age),
        None => "-".to_owned(),
    }
}
