//! `ollama-guard prepare`: what the service needs root's rights for, before it starts without them.

use std::path::Path;

use super::load;
use crate::account;
use crate::datapath::PinDirectory;
use crate::exit::Exit;

/// Validates the configuration as `run` will, but seeing which process listens where; then hands the pins to the
/// service's user. Without such a user, they stay root's.
pub(super) fn prepare(file: Option<&Path>) -> anyhow::Result<Exit> {
    let policy = match load(file) {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("{error}");
            return Ok(Exit::Usage);
        }
    };
    PinDirectory::at(&policy.paths.bpf).hand_over(account::user().unwrap_or(0), account::group())?;
    Ok(Exit::Fine)
}
