//! The metrics: a snapshot as Prometheus reads it. Names, labels and meanings are a contract, described in
//! docs/metrics.md.
//!
//! Nothing here is counted by the daemon: every scrape reads the kernel. Only [`Ledger`] has a memory, for which sources
//! have series of their own.

mod cells;
mod encode;
mod families;
mod format;
mod ledger;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use format::Format;
pub use ledger::Ledger;
pub use process::Process;
use prometheus_client::registry::Registry;

use super::snapshot::Snapshot;

/// How the daemon's configuration fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Was the file that was read last sound?
    pub successful: bool,
    /// When a sound one was last read, by [`crate::clock`].
    pub last_success: Duration,
}

/// What only a running daemon has to tell.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Its configuration.
    pub reload: Reload,
    /// Its process.
    pub process: Process,
}

/// Writes the metrics of a snapshot. The ledger, which has taken the snapshot in, gives the sources' series; without its
/// memory from one scrape to the next they would not be monotone, so they are left out.
pub fn write(
    snapshot: &Snapshot,
    ledger: Option<&Ledger>,
    daemon: Option<Daemon>,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut families = families::of_snapshot(snapshot);
    families.extend(ledger.into_iter().flat_map(families::of_sources));
    if let Some(daemon) = daemon {
        families.extend(families::of_daemon(&daemon));
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(encode::Families(families)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(format.convert(text))
}
