//! Links kept open: a program that loses the pin of its link stays attached as long as this process lives.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::pins::{pin, pin_error};
use super::{DatapathError, PinDirectory, sys};

/// Descriptors for everything else that this process does.
const SPARE: u64 = 256;

/// One link an interface, by the interface's index.
#[derive(Debug, Default)]
pub(super) struct HeldLinks {
    links: BTreeMap<u32, OwnedFd>,
    /// More than that are not held: a descriptor that is missing elsewhere would do more harm.
    room: usize,
}

impl HeldLinks {
    /// Room for as many links as this process may have descriptors; asks for as many as it may ask for.
    pub(super) fn with_room() -> Self {
        let most = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(0, |(soft, hard)| if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft });
        // Half of them for links at egress.
        let room = usize::try_from(most.saturating_sub(SPARE) / 2).unwrap_or(usize::MAX);
        Self { links: BTreeMap::new(), room }
    }

    /// How many links each way may be held.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Holds an interface's link, and its last one no more.
    pub(super) fn hold(&mut self, interface: u32, link: OwnedFd) {
        if self.links.len() < self.room || self.links.contains_key(&interface) {
            self.links.insert(interface, link);
        }
    }

    /// Lets an interface's link go.
    pub(super) fn let_go(&mut self, interface: u32) {
        self.links.remove(&interface);
    }

    /// Holds what is pinned, and pins again what is held: the interfaces of which that was.
    pub(super) fn pin_again(&mut self, pins: &PinDirectory) -> Result<Vec<u32>, DatapathError> {
        let pinned = pins.linked_interfaces()?;
        let mut again = Vec::new();
        for (interface, link) in self.links.iter().filter(|(interface, _)| !pinned.contains(interface)) {
            pin(link.as_fd(), &pins.link(*interface))?;
            again.push(*interface);
        }
        for interface in pinned {
            if !self.links.contains_key(&interface) && self.links.len() < self.room {
                let path = pins.link(interface);
                let link = sys::open_pin(&path).map_err(|error| pin_error("open", &path, error))?;
                self.hold(interface, link);
            }
        }
        Ok(again)
    }
}
