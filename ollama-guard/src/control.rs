//! The control socket `<run>/control.sock`: members of the group `ollama-guard` see what root sees in the kernel.
//!
//! One question, one line; one answer, one JSON document; then the daemon hangs up. The document is no public interface:
//! both ends are of the same version, or the client says so. Nothing can be changed here, but root and the service's own
//! user may have the configuration read again and wait for what comes of it.

mod client;
mod server;

use std::path::{Path, PathBuf};

pub use client::{AskError, ask, reload};
pub use server::Control;

/// What is in force?
const SNAPSHOT: &[u8] = b"snapshot\n";
/// Read the configuration again; how did it go?
const RELOAD: &[u8] = b"reload\n";

/// The socket below a run directory.
pub fn path(run: &Path) -> PathBuf {
    run.join("control.sock")
}

/// What the daemon answers. `content` is a `Snapshot`, or nothing once a reload is done, or says in words why not.
#[derive(serde::Serialize, serde::Deserialize)]
struct Answer<T> {
    /// Of the daemon.
    version: String,
    content: Result<T, String>,
}

#[cfg(test)]
mod tests;
