//! Where log lines go: natively to the journal, with their fields, if that is what stderr is; else to stderr as text.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::observe::terminal::takes_color;

/// Starts logging. `OLLAMA_GUARD_LOG` says how much.
pub fn init() {
    let filter = EnvFilter::try_from_env("OLLAMA_GUARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal.with_field_prefix(None).with_syslog_identifier("ollama-guard".to_owned());
        return tracing_subscriber::registry().with(filter).with(journal).init();
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && takes_color())
        // The message says what the fields say; these are for the journal.
        .fmt_fields(debug_fn(|out, field, value| match field.name() {
            "message" => write!(out, "{value:?}"),
            _ => Ok(()),
        }))
        .with_writer(io::stderr)
        .init();
}

/// Is stderr the journal? systemd says which device and inode it gave us (systemd.exec(5), `$JOURNAL_STREAM`); somebody may
/// have redirected it since.
fn is_journal() -> bool {
    let given = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    stderr.is_ok_and(|stderr| given == format!("{}:{}", stderr.dev(), stderr.ino()))
}
