//! The `sources` table: who sent packets to the guarded ports.

use std::fmt::{self, Write};

use super::columns::{Align, Columns};
use super::snapshot::{Snapshot, Source};
use super::text::{ago, counted, grouped, printable};
use crate::policy::Mode;

/// Writes the table of the snapshot's sources.
pub fn write(out: &mut impl Write, snapshot: &Snapshot) -> fmt::Result {
    let shown = &snapshot.sources;
    if shown.is_empty() {
        writeln!(out, "no packets to guarded ports yet")?;
    } else {
        for line in columns(snapshot).lines() {
            writeln!(out, "{line}")?;
        }
    }
    let tracked = snapshot.sources_tracked.max(snapshot.sources.len() as u64);
    let hidden = tracked - shown.len() as u64;
    if hidden > 0 {
        writeln!(out, "\n… and {} more; to see all: ollama-guard sources --all", counted(hidden, "source"))?;
    }
    if snapshot.unattributed_packets > 0 {
        // Memory is bounded: what was never admitted or made room is counted, but not by source.
        let packets = counted(snapshot.unattributed_packets, "more packet");
        writeln!(out, "\n{packets} came from sources that are not in the table (see [sources] tracked)")?;
    }
    Ok(())
}

fn columns(snapshot: &Snapshot) -> Columns {
    let sources = &snapshot.sources;
    let mut columns = Columns::default();
    columns.add("SOURCE", Align::Left, sources.iter().map(|s| s.source.to_string()));
    columns.add("INTERFACE", Align::Left, sources.iter().map(|s| printable(&s.interface)));
    let service = |source: &Source| source.service.as_deref().unwrap_or("-").to_owned();
    columns.add("SERVICE", Align::Left, sources.iter().map(service));
    columns.add("PACKETS", Align::Right, sources.iter().map(|s| grouped(s.packets)));
    // Whom the policy would lock out is what observe mode is there to show.
    if snapshot.mode == Mode::Observe || sources.iter().any(|source| source.would_drop_packets > 0) {
        columns.add("WOULD DROP", Align::Right, sources.iter().map(|s| grouped(s.would_drop_packets)));
    }
    columns.add("DROPPED", Align::Right, sources.iter().map(|s| grouped(s.dropped_packets)));
    columns.add("LAST SEEN", Align::Left, sources.iter().map(|s| ago(s.last_seen)));
    columns
}

#[cfg(test)]
mod tests {
    use super::super::samples::{day, source};
    use super::*;

    fn text(snapshot: &Snapshot) -> String {
        let mut text = String::new();
        write(&mut text, snapshot).unwrap();
        text
    }

    #[test]
    fn a_table_of_sources() {
        let mut snapshot = day();
        snapshot.sources = vec![source("203.0.113.9", 12_900), source("2001:db8:1234:5678:9abc:def0:1234:5678", 4)];
        snapshot.sources_tracked = 2;
        insta::assert_snapshot!("sources", text(&snapshot));
        snapshot.unattributed_packets = 17;
        snapshot.rank_sources(Some(1));
        insta::assert_snapshot!("sources_top", text(&snapshot));
    }

    #[test]
    fn observe_mode_shows_whom_it_would_lock_out() {
        let mut snapshot = day();
        snapshot.mode = Mode::Observe;
        let would =
            |address, packets| Source { dropped_packets: 0, would_drop_packets: packets, ..source(address, packets) };
        snapshot.sources = vec![would("192.0.2.7", 3), would("203.0.113.9", 40)];
        snapshot.sources_tracked = 2;
        snapshot.rank_sources(None);
        insta::assert_snapshot!("sources_observed", text(&snapshot));
    }

    #[test]
    fn nobody_yet() {
        let mut snapshot = day();
        (snapshot.sources, snapshot.sources_tracked) = (Vec::new(), 0);
        insta::assert_snapshot!("sources_none", text(&snapshot));
    }
}
