//! Promises 3, 4 and 6: what stands stays while interfaces come and go, the daemon dies, the policy changes and others
//! do as they like; `status` says how things are meanwhile; and `down` leaves nothing.

mod daemon;
mod down;
mod foreign;
mod interfaces;
mod reload;
mod seats;
mod sockets;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The default service's port.
const PORT: u16 = 11434;

/// Every pin below a directory, with the inode that stands for it: equal if nothing was pinned anew.
fn pins(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pins(&path));
        } else if let Ok(metadata) = fs::symlink_metadata(&path) {
            found.insert(path, metadata.ino());
        }
    }
    found
}

/// The pins of links: one for each interface with a program.
fn links(directory: &Path) -> Vec<PathBuf> {
    pins(directory).into_keys().filter(|path| path.parent().is_some_and(|parent| parent.ends_with("links"))).collect()
}
