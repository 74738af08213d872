//! The stream of changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{RecvFlags, SocketFlags, recv};
use tokio::io::unix::AsyncFd;

use super::error::LinkError;
use super::netlink::{Family, open};

/// `RTNLGRP_LINK` as a bit (`RTMGRP_LINK`, `include/uapi/linux/rtnetlink.h`).
const LINK_GROUP: u32 = 1;
/// Room for a burst (a thousand containers starting); an overrun only costs one more full read.
const BURST: usize = 4 * 1024 * 1024;

/// Wakes up when an interface of the namespace it was opened in appears, vanishes or changes.
///
/// It says *that*, not *what*: the reader of [`super::Links`] gets the whole truth, and a message that was
/// lost, or that described a state already gone, cannot mislead it. Open it before the first read, so that
/// no change falls between the two.
#[derive(Debug)]
pub struct LinkEvents {
    socket: AsyncFd<OwnedFd>,
}

impl LinkEvents {
    /// Subscribes, in the calling thread's network namespace. Needs a tokio runtime.
    pub fn open() -> Result<Self, LinkError> {
        let socket = open(Family::Route, SocketFlags::NONBLOCK, LINK_GROUP)?;
        // Needs CAP_NET_ADMIN; with the default size overruns come sooner and are handled alike.
        let _ = set_socket_recv_buffer_size_force(&socket, BURST);
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) };
        let socket = socket.map_err(|error| LinkError::Open { family: "route", source: error.into() })?;
        Ok(Self { socket })
    }

    /// Waits until something changed since the last call; any number of changes is one wake-up. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), LinkError> {
        let failed = |source| LinkError::Request { what: "listen for interface changes".to_owned(), source };
        loop {
            let mut ready = self.socket.readable().await.map_err(failed)?;
            let changed = drain(ready.get_inner()).map_err(failed)?;
            ready.clear_ready();
            if changed {
                return Ok(());
            }
        }
    }
}

/// Takes what is queued; was there anything? An overrun (`ENOBUFS`: messages were lost) is a change too.
fn drain(socket: &OwnedFd) -> io::Result<bool> {
    let mut changed = false;
    loop {
        // The content does not matter: one byte of buffer, the rest of each message is cut off.
        match recv(socket, [MaybeUninit::uninit(); 1].as_mut_slice(), RecvFlags::empty()) {
            Ok(_) | Err(Errno::NOBUFS) => changed = true,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(changed),
            Err(error) => return Err(error.into()),
        }
    }
}
