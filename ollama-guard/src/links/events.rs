//! The stream of changes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{RecvFlags, SocketFlags, recv};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::netlink::attributes::{MESSAGE_HEADER, u16_at, u32_at};
use crate::netlink::{Family, NetlinkError, open};

/// `RTNLGRP_*` as bits (`include/uapi/linux/rtnetlink.h`).
const LINK_GROUP: u32 = 1;
const TC_GROUP: u32 = 1 << 3;
/// Addresses and routes of both families, and the settings of interfaces (`forwarding`): they tell an uplink.
const USE_GROUPS: u32 = 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 23 | 1 << 24;
/// Room for a burst (a thousand containers starting); an overrun only costs one more full read.
const BURST: usize = 4 * 1024 * 1024;

/// Addresses and routes may change all the time, by a routing daemon or by whoever sends advertisements: the first
/// change wakes at once, more of them after this pause.
const USE_PAUSE: Duration = Duration::from_millis(200);

/// Wakes up when an interface of the namespace it was opened in appears, vanishes or changes, when its addresses or
/// routes do, or when somebody changes what its packets meet on their way in.
///
/// It says *that*, not *what*: the reader of [`super::Links`] gets the whole truth, and a message that was
/// lost, or that described a state already gone, cannot mislead it. Open it before the first read, so that
/// no change falls between the two.
#[derive(Debug)]
pub struct LinkEvents {
    socket: AsyncFd<OwnedFd>,
    /// When a change of addresses or routes last woke somebody.
    used: Option<Instant>,
    /// Another has come since.
    waits: bool,
}

impl LinkEvents {
    /// Subscribes, in the calling thread's network namespace. Needs a tokio runtime.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = open(Family::Route, SocketFlags::NONBLOCK, LINK_GROUP | TC_GROUP | USE_GROUPS)?;
        // Needs CAP_NET_ADMIN; with the default size overruns come sooner and are handled alike.
        let _ = set_socket_recv_buffer_size_force(&socket, BURST);
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
        let socket = unsafe { AsyncFd::register(socket) };
        let socket = socket.map_err(|error| NetlinkError::Open { family: "route", source: error.into() })?;
        Ok(Self { socket, used: None, waits: false })
    }

    /// Waits until something changed since the last call; any number of changes is one wake-up. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Request { what: "listen for interface changes".to_owned(), source };
        loop {
            let pause = self.used.filter(|_| self.waits).map(|used| used + USE_PAUSE);
            let mut ready = tokio::select! {
                ready = self.socket.readable() => ready.map_err(failed)?,
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {
                    (self.used, self.waits) = (Some(Instant::now()), false);
                    return Ok(());
                }
            };
            let news = drain(ready.get_inner()).map_err(failed)?;
            ready.clear_ready();
            let rested = self.used.is_none_or(|used| used.elapsed() >= USE_PAUSE);
            match news {
                Some(News::Interface) => {}
                Some(News::Use) if rested => self.used = Some(Instant::now()),
                Some(News::Use) => {
                    self.waits = true;
                    continue;
                }
                None => continue,
            }
            self.waits = false;
            return Ok(());
        }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// Addresses, routes, settings.
    Use,
    /// An interface, or what is attached to it.
    Interface,
}

/// Takes what is queued; what is the greatest change? An overrun (`ENOBUFS`: messages were lost) may be any.
fn drain(socket: &OwnedFd) -> io::Result<Option<News>> {
    let mut news = None;
    loop {
        // Little of the content matters: the rest of each message is cut off.
        let mut head = [0; HEAD];
        match recv(socket, head.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => news = news.max(matters(&head[..length])),
            Err(Errno::NOBUFS) => news = Some(News::Interface),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(news),
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

/// Of an interface (`RTM_NEWLINK`, `RTM_DELLINK`).
const LINK: [u16; 2] = [16, 17];
/// Of addresses and routes (`RTM_NEWADDR` to `RTM_DELROUTE`), and of settings (`RTM_NEWNETCONF`, `RTM_DELNETCONF`).
const USES: [std::ops::RangeInclusive<u16>; 2] = [20..=25, 80..=81];

/// Could this message be about what the guard put there, or about a class? What cannot be read could.
fn matters(head: &[u8]) -> Option<News> {
    let Some(kind) = u16_at(head, 4).filter(|kind| !LINK.contains(kind)) else { return Some(News::Interface) };
    let is = |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&kind));
    if is(&USES) {
        return Some(News::Use);
    }
    let parent = u32_at(head, MESSAGE_HEADER + 12);
    (!is(&TRAFFIC_CONTROL) || parent.is_none_or(|parent| INCOMING.contains(&parent))).then_some(News::Interface)
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
        assert_eq!(matters(&message(16, 0)), Some(News::Interface)); // RTM_NEWLINK
        assert_eq!(matters(&message(37, 0xffff_fff1)), Some(News::Interface)); // RTM_DELQDISC of clsact
        assert_eq!(matters(&message(45, 0xffff_fff2)), Some(News::Interface)); // RTM_DELTFILTER on its way in
        assert_eq!(matters(&message(36, 0xffff_ffff)), None); // RTM_NEWQDISC at the root
        assert_eq!(matters(&message(44, 0xffff_fff3)), None); // RTM_NEWTFILTER on the way out
        assert_eq!(matters(&[]), Some(News::Interface));
        for kind in [20, 21, 24, 25, 80] {
            assert_eq!(matters(&message(kind, 0)), Some(News::Use)); // RTM_NEWADDR to RTM_DELROUTE, RTM_NEWNETCONF
        }
    }
}
