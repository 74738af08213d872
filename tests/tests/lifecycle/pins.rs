//! Other people's hands on our pins.

mod held;
mod orphaned;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Pins, each with the inode that stands for it: equal if nothing was pinned anew.
pub(crate) type Pins = BTreeMap<PathBuf, u64>;

/// Every pin below a directory.
pub(crate) fn pins(directory: &Path) -> Pins {
    let mut found = Pins::new();
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
pub(crate) fn links(directory: &Path) -> Vec<PathBuf> {
    pins(directory).into_keys().filter(|path| path.parent().is_some_and(|parent| parent.ends_with("links"))).collect()
}
