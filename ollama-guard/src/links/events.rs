//! The stream of changes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{RecvFlags, SocketFlags, recv};
use tokio::io::unix::AsyncFd;

use crate::netlink::attributes::{MESSAGE_HEADER, u16_at, u32_at};
use crate::netlink::{Family, NetlinkError, open};

/// `RTNLGRP_LINK` and `RTNLGRP_TC` as bits (`RTMGRP_*`, `include/uapi/linux/rtnetlink.h`).
const LINK_GROUP: u32 = 1;
const TC_GROUP: u32 = 8;
/// Room for a burst (a thousand containers starting); an overrun only costs one more full read.
const BURST: usize = 4 * 1024 * 1024;

/// Wakes up when an interface of the namespace it was opened in appears, vanishes or changes, or when somebody
/// changes what its packets meet on their way in.
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
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = open(Family::Route, SocketFlags::NONBLOCK, LINK_GROUP | TC_GROUP)?;
        // Needs CAP_NET_ADMIN; with the default size overruns come sooner and are handled alike.
        let _ = set_socket_recv_buffer_size_force(&socket, BURST);
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) };
        let socket = socket.map_err(|error| NetlinkError::Open { family: "route", source: error.into() })?;
        Ok(Self { socket })
    }

    /// Waits until something changed since the last call; any number of changes is one wake-up. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Request { what: "listen for interface changes".to_owned(), source };
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

/// Takes what is queued; was there a change? An overrun (`ENOBUFS`: messages were lost) is one too.
fn drain(socket: &OwnedFd) -> io::Result<bool> {
    let mut changed = false;
    loop {
        // Little of the content matters: the rest of each message is cut off.
        let mut head = [0; HEAD];
        match recv(socket, head.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => changed |= matters(&head[..length]),
            Err(Errno::NOBUFS) => changed = true,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(changed),
            Err(error) => return Err(error.into()),
        }
    }
}

/// `struct nlmsghdr` and `struct tcmsg`.
const HEAD: usize = MESSAGE_HEADER + 20;
/// `RTM_NEWQDISC` to `RTM_GETTFILTER`, and the chains of filters: traffic control.
const TRAFFIC_CONTROL: [std::ops::RangeInclusive<u16>; 2] = [36..=46, 100..=102];
/// Of traffic control, what hangs at `TC_H_CLSACT` or at its `TC_H_MIN_INGRESS`: our filter's qdisc, and filters
/// beside ours. Shaping what goes out is none of our business, and some programs change it all the time.
const INCOMING: [u32; 2] = [0xffff_fff1, 0xffff_fff2];

/// Could this message be about what the guard put there? What cannot be read could.
fn matters(head: &[u8]) -> bool {
    let is_tc = u16_at(head, 4).is_some_and(|kind| TRAFFIC_CONTROL.iter().any(|range| range.contains(&kind)));
    let parent = u32_at(head, MESSAGE_HEADER + 12);
    !is_tc || parent.is_none_or(|parent| INCOMING.contains(&parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, parent: u32) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[4..6].copy_from_slice(&kind.to_ne_bytes());
        head[28..32].copy_from_slice(&parent.to_ne_bytes());
        head
    }

    #[test]
    fn interfaces_and_incoming_filters_matter_and_shaping_does_not() {
        assert!(matters(&message(16, 0))); // RTM_NEWLINK
        assert!(matters(&message(37, 0xffff_fff1))); // RTM_DELQDISC of clsact
        assert!(matters(&message(45, 0xffff_fff2))); // RTM_DELTFILTER on its way in
        assert!(!matters(&message(36, 0xffff_ffff))); // RTM_NEWQDISC at the root
        assert!(!matters(&message(44, 0xffff_fff3))); // RTM_NEWTFILTER on the way out
        assert!(matters(&[]));
    }
}
