//! Who sent packets to the guarded ports: the `sources` table.

use std::fmt::{self, Write};

use super::columns::{Align, Columns};
use super::snapshot::{Snapshot, Source};
use super::text::{ago, grouped, packets, printable};

/// Writes the table of the snapshot's sources.
pub fn write(out: &mut impl Write, snapshot: &Snapshot) -> fmt::Result {
    let shown = &snapshot.sources;
    if shown.is_empty() {
        writeln!(out, "nobody has sent a packet to a guarded port")?;
    } else {
        for line in columns(shown).lines() {
            writeln!(out, "{line}")?;
        }
    }
    let tracked = snapshot.sources_tracked.max(snapshot.sources.len() as u64);
    let hidden = tracked - shown.len() as u64;
    if hidden > 0 {
        writeln!(out, "\n… and {} more senders; without --top all are shown", grouped(hidden))?;
    }
    if snapshot.unattributed_packets > 0 {
        // Memory is bounded: what was never admitted or made room is counted, but not by source.
        let packets = packets(snapshot.unattributed_packets);
        writeln!(out, "\n{packets} more came from sources that are not in the table (see [sources] tracked)")?;
    }
    Ok(())
}

fn columns(sources: &[Source]) -> Columns {
    let mut columns = Columns::default();
    columns.add("SOURCE", Align::Left, sources.iter().map(|s| s.source.to_string()));
    columns.add("INTERFACE", Align::Left, sources.iter().map(|s| printable(&s.interface)));
    let service = |source: &Source| source.service.as_deref().unwrap_or("-").to_owned();
    columns.add("SERVICE", Align::Left, sources.iter().map(service));
    columns.add("PACKETS", Align::Right, sources.iter().map(|s| grouped(s.packets)));
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
    fn a_table_of_senders() {
        let mut snapshot = day();
        snapshot.sources = vec![source("203.0.113.9", 12_900), source("2001:db8:1234:5678:9abc:def0:1234:5678", 4)];
        snapshot.sources_tracked = 2;
        insta::assert_snapshot!("sources", text(&snapshot));
        snapshot.unattributed_packets = 17;
        snapshot.rank_sources(Some(1));
        insta::assert_snapshot!("sources_top", text(&snapshot));
    }

    #[test]
    fn nobody_yet() {
        let mut snapshot = day();
        (snapshot.sources, snapshot.sources_tracked) = (Vec::new(), 0);
        insta::assert_snapshot!("sources_none", text(&snapshot));
    }
}
