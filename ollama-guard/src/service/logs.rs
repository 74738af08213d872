//! Logs: to the journal with priorities and fields if it listens to us, else as text to standard error.

use std::io::{IsTerminal, stderr};

use nix::sys::stat::fstat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to log. `OLLAMA_GUARD_LOG` says how much (`debug`, `info`, `warn`).
pub fn init() {
    let filter = EnvFilter::try_from_env("OLLAMA_GUARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_syslog_identifier("ollama-guard".to_owned()).with_field_prefix(None)).init();
        return;
    }
    let text = tracing_subscriber::fmt::layer().with_target(false);
    registry.with(text.with_ansi(stderr().is_terminal()).with_writer(stderr)).init();
}

/// Is standard error the journal's, as systemd says in `JOURNAL_STREAM`? Programs that it starts may have redirected it
/// and still have the variable (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(stderr()).is_ok_and(|ours| told == format!("{}:{}", ours.st_dev, ours.st_ino))
}
