//! Sockets that systemd opened for us (`sd_listen_fds(3)`): the daemon then needs no right to make any.

use std::os::fd::{FromRawFd, OwnedFd};

use tracing::warn;

/// Takes them over. To be called once.
pub(super) fn sockets() -> Vec<OwnedFd> {
    match sd_notify::listen_fds() {
        // SAFETY: the service manager passed these descriptors to this process, by its id; they were open before the
        // program began, so nothing in it has opened, and nothing else in it owns, these numbers.
        Ok(fds) => fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect(),
        Err(error) => {
            warn!("the sockets that systemd passes cannot be used: {error}");
            Vec::new()
        }
    }
}
