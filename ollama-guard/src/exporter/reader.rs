//! Reads the kernel when somebody asks, and never more often than it can.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Settings;
use crate::clock;
use crate::observe::enforcement::{Enforcement, enforcement, problems};
use crate::observe::metrics::{self, Daemon, Format, Ledger, Process};
use crate::observe::snapshot::Snapshot;
use crate::observe::table;
use crate::observe::text::printable;

/// Where snapshots come from: the kernel, or a test.
pub(super) type Source = Box<dyn FnMut(&Settings) -> anyhow::Result<Snapshot> + Send>;

/// The last reading, and what has been shown of all before.
pub(super) struct Reader {
    settings: watch::Receiver<Settings>,
    source: Source,
    ledger: Ledger,
    last: Option<Reading>,
}

struct Reading {
    /// Without its sources, of which there may be many.
    snapshot: Snapshot,
    done: Instant,
    /// A reading serves for as long as it took, so that a crowd of requests costs half of a CPU at most.
    took: Duration,
}

impl Reader {
    pub(super) fn new(settings: watch::Receiver<Settings>, source: Source) -> Self {
        Self { settings, source, ledger: Ledger::default(), last: None }
    }

    /// `/metrics`.
    pub(super) fn metrics(&mut self, format: Format) -> anyhow::Result<String> {
        self.read()?;
        let daemon = Daemon { reload: self.settings.borrow().reload, process: Process::read() };
        let snapshot = &self.last()?.snapshot;
        Ok(metrics::write(snapshot, Some(&self.ledger), Some(daemon), format)?)
    }

    /// The status table, as in a pipe.
    pub(super) fn table(&mut self) -> anyhow::Result<String> {
        self.read()?;
        let mut text = String::new();
        table::write(&mut text, &self.last()?.snapshot, None, table::Options::default())?;
        Ok(text)
    }

    /// Nothing if the policy is enforced in full, else why not.
    pub(super) fn not_ready(&mut self) -> anyhow::Result<Option<String>> {
        self.read()?;
        let snapshot = &self.last()?.snapshot;
        Ok(match enforcement(snapshot) {
            Enforcement::Full => None,
            Enforcement::Observing => Some("mode: observe mode drops nothing; set mode = \"enforce\"".to_owned()),
            Enforcement::Partial | Enforcement::Absent => {
                let words = problems(snapshot)
                    .into_iter()
                    .map(|problem| printable(&format!("{}: {}", problem.subject, problem.problem)));
                Some(words.collect::<Vec<_>>().join("\n"))
            }
        })
    }

    fn read(&mut self) -> anyhow::Result<()> {
        if self.last.as_ref().is_some_and(|last| last.done.elapsed() < last.took) {
            return Ok(());
        }
        let start = Instant::now();
        let settings = self.settings.borrow().clone();
        let mut snapshot = (self.source)(&settings)?;
        // A reading under a flood may miss some that the one before knew of; a counter never goes back.
        let before = self.last.as_ref().map_or(0, |last| last.snapshot.source_evictions);
        snapshot.source_evictions = snapshot.source_evictions.max(before);
        self.ledger.update(&snapshot, settings.exported, clock::boot());
        snapshot.sources = Vec::new();
        self.last = Some(Reading { snapshot, done: Instant::now(), took: start.elapsed() });
        Ok(())
    }

    fn last(&self) -> anyhow::Result<&Reading> {
        self.last.as_ref().ok_or_else(|| anyhow::anyhow!("nothing has been read yet"))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}
