//! What the policy opens on this host, told in the log at start and at every reload.

use std::thread;

use tracing::{info, warn};

use crate::findings::Weight;
use crate::observe::collect::findings;
use crate::policy::Policy;

/// Looks and tells on a thread of its own: enforcement never waits for it, and what cannot be read is not told.
pub(super) fn tell(policy: &Policy) {
    let policy = policy.clone();
    let tell = move || {
        for finding in findings(&policy) {
            match finding.weight {
                Weight::Opens => warn!("{finding}"),
                Weight::Odd | Weight::Hint => info!("{finding}"),
            }
        }
    };
    // Without a thread `status` still tells.
    let _ = thread::Builder::new().name("findings".to_owned()).spawn(tell);
}
