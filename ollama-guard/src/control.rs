//! The control socket `<run>/control.sock`: members of the group `ollama-guard` see what root sees in the kernel.
//!
//! One question, one line; one answer, one JSON document; then the daemon hangs up. The document is no public interface:
//! both ends are of the same version, or the client says so. Nothing can be changed here.

mod client;
mod server;

use std::path::{Path, PathBuf};

pub use client::{AskError, ask};
pub use server::Control;

/// The one question there is.
const QUESTION: &[u8] = b"snapshot\n";

/// The socket below a run directory.
pub fn path(run: &Path) -> PathBuf {
    run.join("control.sock")
}

/// What the daemon answers. `content` is a `Snapshot`, or says in words why there is none.
#[derive(serde::Serialize, serde::Deserialize)]
struct Answer<T> {
    /// Of the daemon.
    version: String,
    content: Result<T, String>,
}

#[cfg(test)]
mod tests;
