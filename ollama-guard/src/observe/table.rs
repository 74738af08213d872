//! The status table for people.

mod notes;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::time::Duration;

use super::enforcement::{Enforcement, enforcement, problems};
use super::snapshot::{Attachment, Seatbelt, SeatbeltState, Severity, Snapshot};
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
    let (title, tone) = title(snapshot);
    writeln!(out, "{}", style.tone(&title, Some(tone)))?;
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
        notes::sources(out, snapshot, table.first_column)?;
    }
    if options.all {
        notes::hooks(out, snapshot)?;
    }
    notes::advice(out, snapshot, style)?;
    for problem in problems(snapshot) {
        let (word, tone) = match problem.severity {
            Severity::Gap => ("PROBLEM", Tone::Bad),
            Severity::Warning => ("WARNING", Tone::Warning),
            Severity::Notice => ("NOTE", Tone::Faint),
        };
        let head = format!("{word} {}: {}", problem.subject, problem.problem);
        writeln!(out, "\n{}\n        next: {}", style.tone(&head, Some(tone)), problem.next_step)?;
    }
    Ok(())
}

fn title(snapshot: &Snapshot) -> (String, Tone) {
    let guarded = services(&snapshot.services);
    let (state, tone) = match enforcement(snapshot) {
        Enforcement::Full => (format!("enforcing {guarded}"), Tone::Good),
        Enforcement::Partial => (format!("ONLY PARTLY ENFORCING {guarded}"), Tone::Bad),
        Enforcement::Observing => (format!("OBSERVING {guarded}: NOTHING IS DROPPED"), Tone::Bad),
        Enforcement::Absent if snapshot.services.is_empty() => ("NOT ENFORCING: nothing is guarded".into(), Tone::Bad),
        Enforcement::Absent => (format!("NOT ENFORCING {guarded}"), Tone::Bad),
    };
    let up = snapshot.up.map(|up| format!(" · up {}", duration(up))).unwrap_or_default();
    (format!("ollama-guard {} · {state}{up}", snapshot.version), tone)
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
    (format!("{TABLE} · {state} · {} dropped{repairs}", grouped(seatbelt.dropped_packets())), tone)
}

/// The state of the wall on an interface as rows and notes need it.
const fn attached(attachment: &Attachment) -> bool {
    matches!(attachment, Attachment::Attached { .. })
}
