//! Drops in the log: a sentence, and the same in fields, named as the kernel's own packet log names them.

use tracing::info;

use super::allowance::HeldBack;
use super::event::DropEvent;
use crate::observe::text::{grouped, packets, printable};

/// What these lines are called in `OLLAMA_GUARD_LOG`: `info,drops=off` silences them.
macro_rules! say {
    ($($what:tt)+) => { info!(target: "drops", $($what)+) };
}

pub(super) fn drop(event: &DropEvent) {
    say!(
        {
            "SRC" = %event.source,
            "DST" = event.destination.map(display),
            "DPT" = event.port,
            "PROTO" = event.protocol.as_ref().map(|protocol| display(protocol.to_uppercase())),
            "IN" = %printable(&event.interface),
            "REASON" = %event.reason,
            "COUNT" = event.count,
        },
        "{event}"
    );
}

pub(super) fn held_back(what: HeldBack) {
    say!(
        { "LINES" = what.lines, "COUNT" = what.packets },
        "{} more lines about drops ({}) were held back: too many for the log; see: ollama-guard sources",
        grouped(what.lines),
        packets(what.packets)
    );
}
