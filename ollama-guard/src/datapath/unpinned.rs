//! Pins that somebody removes: noticed at once, and put back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::{Errno, read};
use tokio::io::unix::AsyncFd;

use super::pins::pin;
use super::shared::SharedMaps;
use super::{DatapathError, PinDirectory, Wall};

/// Wakes up when a pin goes, whoever removed it. It says *that*, not *what*.
#[derive(Debug)]
pub struct PinWatch {
    pins: PinDirectory,
    inotify: AsyncFd<OwnedFd>,
    /// What the kernel calls the directories it watches.
    watched: Vec<i32>,
}

impl PinWatch {
    /// Begins to watch. Needs a tokio runtime.
    pub fn open(root: &Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        Ok(Self { pins: PinDirectory::at(root), inotify, watched: Vec::new() })
    }

    /// Waits until a pin went since the last call, or may have gone unseen; any number of them is one wake-up. Cancel safe.
    pub async fn removed(&mut self) -> io::Result<()> {
        // Again each time: a directory that was removed and made anew is another one, and lost what it lost since unseen.
        let gone = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
        let watch = |directory| add_watch(self.inotify.get_ref(), directory, gone);
        let watched = self.pins.directories().into_iter().map(watch).collect::<Result<Vec<_>, _>>()?;
        if std::mem::replace(&mut self.watched, watched) != self.watched {
            return Ok(());
        }
        loop {
            let mut ready = self.inotify.readable().await?;
            let removed = drain(ready.get_inner())?;
            ready.clear_ready();
            if removed {
                return Ok(());
            }
        }
    }
}

/// Takes what is queued; was there anything?
fn drain(inotify: &OwnedFd) -> io::Result<bool> {
    let mut any = false;
    loop {
        match read(inotify, &mut [0_u8; 4096]) {
            Ok(_) => any = true,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(any),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Wall {
    /// Puts back the pins that are gone: whatever they stood for is in force still, because this process holds it open.
    /// Returns the interfaces whose link had lost its pin.
    pub fn pin_again(&mut self) -> Result<Vec<u32>, DatapathError> {
        self.pins.create()?;
        for (name, map) in self.maps.iter().flat_map(SharedMaps::all) {
            pin_missing(map, &self.pins.map(name))?;
        }
        for (key, instance) in &self.instances {
            pin_missing(instance.fd.as_fd(), &self.pins.programs().join(key.as_str()))?;
        }
        for (interface, link) in &self.egress {
            pin_missing(link.as_fd(), &self.pins.egress_link(*interface))?;
        }
        self.links.pin_again(&self.pins)
    }
}

fn pin_missing(object: BorrowedFd<'_>, path: &Path) -> Result<(), DatapathError> {
    if path.exists() { Ok(()) } else { pin(object, path) }
}
