//! Does the one who says where a port leads hold the very socket that strangers reach?

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::Deadline;
use crate::procfs;
use crate::sockets::Socket;

/// Processes on the way from a proxy to the one that listens for it: rootlesskit is some generations above its own.
const GENERATIONS: usize = 8;

/// Is a socket somebody's?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
    /// We may not look, or time is up.
    Unknown,
}

/// Who holds which sockets, read once for each process.
#[derive(Debug)]
pub(super) struct Holders {
    until: Deadline,
    here: Option<u64>,
    /// By process; none where we may not look.
    sockets: RefCell<HashMap<u32, Option<HashSet<u64>>>>,
}

impl Holders {
    /// Looks until then.
    pub(super) fn new(until: Deadline) -> Self {
        Self { until, here: procfs::here(), sockets: RefCell::default() }
    }

    /// Is the socket held by this process of this user, or by one of its ancestors that is his too? Docker opens the socket
    /// for docker-proxy, and rootlesskit for what runs in its namespaces.
    ///
    /// A socket that another user made is none of his, whoever it was left to.
    pub(super) fn hold(&self, id: u32, user: u32, socket: &Socket) -> Held {
        if socket.user != user {
            return Held::No;
        }
        let (mut one, mut seen_all) = (id, true);
        for _ in 0..GENERATIONS {
            let Some(status) = procfs::status(one).filter(|status| status.user == Some(user)) else { break };
            match self.holds(one, socket.inode) {
                Some(true) => return Held::Yes,
                Some(false) => {}
                None => seen_all = false,
            }
            one = status.parent;
        }
        match seen_all {
            true => Held::No,
            false if self.is_plain(id, user) => Held::Yes,
            false => Held::Unknown,
        }
    }

    /// Without the right to look at descriptors: a process of the host itself, in our network namespace and no container,
    /// whose user made the socket.
    fn is_plain(&self, id: u32, user: u32) -> bool {
        let is_his = |status: procfs::Status| status.user == Some(user) && status.depth == Some(1);
        procfs::is_here(id, self.here) && procfs::status(id).is_some_and(is_his)
    }

    fn holds(&self, process: u32, inode: u64) -> Option<bool> {
        let mut known = self.sockets.borrow_mut();
        let sockets = known.entry(process).or_insert_with(|| {
            if std::time::Instant::now() >= self.until { None } else { procfs::sockets(process).ok() }
        });
        sockets.as_ref().map(|sockets| sockets.contains(&inode))
    }

    /// Which of these sockets a process of this user holds itself.
    pub(super) fn held<'a>(&self, id: u32, user: u32, sockets: &'a [Socket]) -> impl Iterator<Item = &'a Socket> {
        let own = move |socket: &&Socket| socket.user == user && self.holds(id, socket.inode) == Some(true);
        sockets.iter().filter(own).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::policy::Protocol;
    use crate::sockets;

    #[test]
    fn a_socket_is_its_own_process_s_and_its_descendants() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = sockets::listening(&[Protocol::Tcp].into());
        let socket = sockets.iter().find(|socket| socket.port == port).unwrap();
        let (own, user) = (std::process::id(), socket.user);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let holders = Holders::new(Instant::now() + Duration::from_secs(60));
        assert_eq!(holders.hold(own, user, socket), Held::Yes);
        assert_eq!(holders.hold(child.id(), user, socket), Held::Yes, "its parent listens for it");
        assert_eq!(holders.hold(own, user + 1, socket), Held::No, "not that user's");
        let another = Socket { inode: 1, ..socket.clone() };
        assert_eq!(holders.hold(own, user, &another), Held::No, "a socket of the same user, and not its own");
        assert_eq!(holders.held(own, user, &sockets).filter(|socket| socket.port == port).count(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
