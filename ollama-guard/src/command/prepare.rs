//! `ollama-guard prepare`: what the service needs root's rights for, before it starts without them.

use std::path::Path;

use super::load;
use crate::account;
use crate::config::lockout;
use crate::datapath::PinDirectory;
use crate::exit::Exit;

/// Validates the configuration as `run` will, hands the pins to the service's user, and writes down how people get into this
/// machine, which that user may not see. What fails of this keeps the service from nothing: nftables needs none of it.
/// Without such a user, the pins stay root's.
pub(super) fn prepare(file: Option<&Path>) -> Exit {
    let policy = match load(file) {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage;
        }
    };
    if let Err(error) = PinDirectory::at(&policy.paths.bpf).hand_over(account::user().unwrap_or(0), account::group()) {
        eprintln!("ollama-guard: the eBPF layer will be missing: {error}");
    }
    tell_ways_in(&policy.paths.run);
    Exit::Fine
}

/// Without it the well-known ports remain, and what the service sees by itself.
pub(super) fn tell_ways_in(run: &Path) {
    if let Err(error) = lockout::hand_over(run) {
        eprintln!(
            "ollama-guard: the service is not told on which ports SSH and VPNs listen: {}: {error}",
            run.display()
        );
    }
}
