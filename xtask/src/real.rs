//! What the tests with the real Ollama and the real Tailscale need.

use anyhow::Result;

/// Installs it.
#[expect(clippy::unnecessary_wraps, reason = "the steps to come can fail")]
pub(crate) fn setup() -> Result<()> {
    Ok(())
}
