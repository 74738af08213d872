//! What the kernel programs say of themselves, into our log: the feature `debug-log`.

use std::os::fd::AsFd;
use std::thread;

use aya::Ebpf;
use aya_log::EbpfLogger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

/// Reads for as long as this process lives. Programs that another process loaded are not heard.
pub(super) fn follow(ebpf: &mut Ebpf) {
    let mut logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return warn!("the kernel programs cannot be heard: {error}"),
    };
    thread::spawn(move || {
        while poll(&mut [PollFd::new(logger.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).is_ok() {
            logger.flush();
        }
    });
}
