//! The status table for people.

mod headline;
mod notes;
mod paragraph;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::time::Duration;

use super::enforcement::{Enforcement, enforcement, problems};
use super::snapshot::{Attachment, Seatbelt, SeatbeltState, Snapshot};
use super::terminal::{Style, Tone};
use super::text::{duration, grouped, services};

/// What to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Quiet interfaces too, and why each hook was chosen.
    pub all: bool,
    /// What the terminal takes.
    pub style: Style,
}

/// An earlier reading, for rates.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The reading.
    pub snapshot: &'a Snapshot,
    /// The time between the two.
    pub elapsed: Duration,
}

/// Writes the whole screen of `status`, with rates if there is an earlier reading.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, earlier: Option<Earlier<'_>>, options: Options) -> fmt::Result {
    let style = options.style;
    let (headline, tone) = headline::headline(snapshot);
    for line in paragraph::wrapped(&headline, "", style) {
        writeln!(out, "{}", style.tone(&line, Some(tone)))?;
    }
    for line in paragraph::wrapped(&title(snapshot), "", style) {
        writeln!(out, "{}", style.tone(&line, Some(Tone::Faint)))?;
    }
    let table = rows::table(snapshot, earlier, options);
    if !snapshot.services.is_empty() {
        writeln!(out)?;
        for (line, tone) in &table.lines {
            writeln!(out, "{}", style.tone(line, *tone))?;
        }
        let (seatbelt, tone) = seatbelt(&snapshot.seatbelt, snapshot.layers.seatbelt);
        let line = format!("{:width$}{seatbelt}", "seatbelt", width = table.first_column);
        writeln!(out, "\n{}", style.tone(&line, tone))?;
        notes::derived(out, snapshot, table.first_column, style)?;
        notes::repairs(out, snapshot, table.first_column)?;
        notes::sources(out, snapshot, table.first_column)?;
    }
    if options.all {
        notes::hooks(out, snapshot)?;
    }
    notes::advice(out, snapshot, style)?;
    paragraph::problems(out, &problems(snapshot), style)
}

fn title(snapshot: &Snapshot) -> String {
    let guarded = services(&snapshot.services);
    let state = match enforcement(snapshot) {
        Enforcement::Full => format!("enforcing {guarded}"),
        Enforcement::Partial => format!("ONLY PARTLY ENFORCING {guarded}"),
        Enforcement::Observing => format!("OBSERVING {guarded}: NOTHING IS DROPPED"),
        Enforcement::Absent if snapshot.services.is_empty() => "NOT ENFORCING: nothing is guarded".into(),
        Enforcement::Absent => format!("NOT ENFORCING {guarded}"),
    };
    let up = snapshot.up.map(|up| format!(" · up {}", duration(up))).unwrap_or_default();
    format!("ollama-guard {} · {state}{up}", snapshot.version)
}

fn seatbelt(seatbelt: &Seatbelt, wanted: bool) -> (String, Option<Tone>) {
    const TABLE: &str = "nftables inet ollama_guard";
    if !wanted {
        return ("SWITCHED OFF".to_owned(), Some(Tone::Bad));
    }
    let (state, tone) = match &seatbelt.state {
        SeatbeltState::Intact => ("intact", None),
        SeatbeltState::Altered(_) => ("MODIFIED", Some(Tone::Bad)),
        SeatbeltState::Missing => return (format!("{TABLE} · MISSING"), Some(Tone::Bad)),
        SeatbeltState::Unknown(_) => return (format!("{TABLE} · UNKNOWN"), Some(Tone::Bad)),
    };
    let repairs = match seatbelt.repairs {
        0 => String::new(),
        1 => " · repaired once".to_owned(),
        times => format!(" · repaired {} times", grouped(times)),
    };
    let locked = if seatbelt.owned { " · locked while the daemon runs" } else { "" };
    (format!("{TABLE} · {state} · {} dropped{repairs}{locked}", grouped(seatbelt.dropped_packets())), tone)
}

/// The state of the wall on an interface as rows and notes need it.
const fn attached(attachment: &Attachment) -> bool {
    matches!(attachment, Attachment::Attached { .. })
}
