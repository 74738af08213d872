//! Sockets that systemd opened for us (`sd_listen_fds(3)`): the daemon then needs no right to make any.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Takes them over. To be called once, before the program opens anything: a manager that promised more than it passed is
/// then found out, instead of its numbers being those of files of ours.
pub fn sockets() -> Vec<OwnedFd> {
    let taken = || -> io::Result<Vec<OwnedFd>> {
        // SAFETY: the service manager passed these descriptors to this process, by its id, and each has just been found
        // open; the program has opened nothing yet, so nothing else in it owns these numbers.
        Ok(sd_notify::listen_fds()?.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
    };
    taken().unwrap_or_else(|error| {
        // Logs are not set up yet.
        eprintln!("the sockets that systemd should have passed cannot be used: {error}");
        Vec::new()
    })
}
