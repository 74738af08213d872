//! The pin directory: `<bpf>/v<ABI>/{maps,programs,links,filters}`.
//!
//! bpffs is world-writable on many systems, so a directory that is not ours alone is refused.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::geteuid;
use ollama_guard_common::abi::ABI_VERSION;

use super::{DatapathError, clsact, sys};
use crate::account;

/// The pin directory of this ABI version.
#[derive(Clone, Debug)]
pub struct PinDirectory {
    root: PathBuf,
    version: PathBuf,
}

/// Ends the pin's name of a link that is being installed.
const NEXT: &str = "-next";
/// Ends the pin's name of a link at egress.
const EGRESS: &str = "-egress";

/// Which ABI versions have pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Ours has.
    pub ours: bool,
    /// Names of the directories of other versions.
    pub others: Vec<String>,
}

impl PinDirectory {
    /// Names the directory below `root`; touches nothing.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), version: root.join(format!("v{ABI_VERSION}")) }
    }

    /// The directory of another version, by its name.
    pub(super) fn other(&self, name: impl AsRef<Path>) -> Self {
        Self { root: self.root.clone(), version: self.root.join(name) }
    }

    /// Removes this version's directory. Links detach with their pins, filters do not.
    pub(super) fn remove(&self) -> Result<(), DatapathError> {
        fs::remove_dir_all(&self.version).map_err(|error| pin_error("remove", &self.version, error))
    }

    /// Makes what is missing of it.
    pub fn create(&self) -> Result<(), DatapathError> {
        check_file_system(&self.root)?;
        for directory in self.directories() {
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_owner(&directory)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(DatapathError::NoBpfFileSystem { path: self.root.clone() });
                }
                Err(error) => return Err(pin_error("create", &directory, error)),
            }
        }
        Ok(())
    }

    /// Makes the root if it is missing and hands it, with everything in it, to a user. What strangers made is refused.
    pub fn hand_over(&self, user: u32, group: Option<u32>) -> Result<(), DatapathError> {
        check_file_system(&self.root)?;
        match DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(pin_error("create", &self.root, error));
            }
            _ => check_owner(&self.root)?,
        }
        give(&self.root, user, group).map_err(|error| pin_error("hand over", &self.root, error))
    }

    /// Whose pins are there.
    pub fn versions(&self) -> Result<Versions, DatapathError> {
        let ours = self.version.file_name().unwrap_or_default();
        let mut versions = Versions::default();
        for entry in entries(&self.root)? {
            if entry == ours {
                versions.ours = true;
            } else {
                versions.others.push(entry.to_string_lossy().into_owned());
            }
        }
        Ok(versions)
    }

    /// It and what is in it, outermost first.
    pub(super) fn directories(&self) -> [PathBuf; 6] {
        let (root, version) = (self.root.clone(), self.version.clone());
        [root, version, self.maps(), self.programs(), self.links(), self.filters()]
    }

    /// The directory of shared maps.
    pub(super) fn maps(&self) -> PathBuf {
        self.version.join("maps")
    }

    /// The directory of programs.
    pub(super) fn programs(&self) -> PathBuf {
        self.version.join("programs")
    }

    /// The directory of links, each named after its interface's index.
    pub(super) fn links(&self) -> PathBuf {
        self.version.join("links")
    }

    /// The directory of marks of interfaces with a filter, each named after the interface's index.
    pub(super) fn filters(&self) -> PathBuf {
        self.version.join("filters")
    }

    /// The mark of an interface that has our filter.
    pub(super) fn filter(&self, interface: u32) -> PathBuf {
        self.filters().join(interface.to_string())
    }

    /// The mark of an interface whose clsact qdisc we made.
    pub(super) fn filter_qdisc(&self, interface: u32) -> PathBuf {
        self.filter(interface).join("qdisc")
    }

    /// Interfaces that are marked as having our filter.
    pub(super) fn filtered_interfaces(&self) -> Result<BTreeSet<u32>, DatapathError> {
        interfaces(&self.filters())
    }

    /// Interfaces that have our link.
    pub(super) fn linked_interfaces(&self) -> Result<BTreeSet<u32>, DatapathError> {
        interfaces(&self.links())
    }

    /// One shared map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// One interface's link.
    pub(super) fn link(&self, interface: u32) -> PathBuf {
        self.links().join(interface.to_string())
    }

    /// The link of one interface's egress.
    pub(super) fn egress_link(&self, interface: u32) -> PathBuf {
        self.links().join(format!("{interface}{EGRESS}"))
    }

    /// Interfaces that have our link at egress.
    pub(super) fn egress_interfaces(&self) -> Result<BTreeSet<u32>, DatapathError> {
        let names = entries(&self.links())?;
        Ok(names.iter().filter_map(|name| name.to_str()?.strip_suffix(EGRESS)?.parse().ok()).collect())
    }

    /// Where an interface's next link is pinned before it takes the place of the present one.
    pub(super) fn next_link(&self, interface: u32) -> PathBuf {
        self.links().join(format!("{interface}{NEXT}"))
    }

    /// Puts a link in place whose installation was cut short: it is attached, and the newer one.
    pub(super) fn finish_installs(&self) -> Result<(), DatapathError> {
        for name in entries(&self.links())? {
            let interface = name.to_str().and_then(|name| name.strip_suffix(NEXT)?.parse().ok());
            if let Some(interface) = interface {
                self.install_link(interface)?;
            }
        }
        Ok(())
    }

    /// Lets the next link's pin take the place of the present one's, which detaches that.
    pub(super) fn install_link(&self, interface: u32) -> Result<(), DatapathError> {
        let next = self.next_link(interface);
        fs::rename(&next, self.link(interface)).map_err(|error| pin_error("rename", &next, error))
    }

    /// Removes everything, of every version. Links detach with their pins, filters do not. True if there was
    /// anything.
    pub fn remove_all(&self) -> Result<bool, DatapathError> {
        match fs::symlink_metadata(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(pin_error("look at", &self.root, error)),
            Ok(_) => check_owner(&self.root)?,
        }
        for version in entries(&self.root)? {
            let pins = self.other(version);
            for interface in pins.filtered_interfaces()? {
                clsact::detach(&pins, interface)?;
            }
        }
        fs::remove_dir_all(&self.root).map_err(|error| pin_error("remove", &self.root, error))?;
        Ok(true)
    }
}

/// Hands over a directory and what is in it, the innermost first: while it is ours, nobody else changes what is in it.
fn give(path: &Path, user: u32, group: Option<u32>) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    lchown(path, Some(user), group)
}

/// The interfaces that entries of a directory are named after.
fn interfaces(directory: &Path) -> Result<BTreeSet<u32>, DatapathError> {
    Ok(entries(directory)?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// The names in a directory; none if it is missing.
pub(super) fn entries(directory: &Path) -> Result<Vec<std::ffi::OsString>, DatapathError> {
    let read = || -> io::Result<Vec<_>> { fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect() };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| pin_error("read", directory, error)),
    }
}

/// Pins a map, program or link.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<(), DatapathError> {
    sys::pin(object, path).map_err(|error| pin_error("pin", path, error))
}

/// Removes one pin, if it is there.
pub(super) fn unpin(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin_error("unpin", path, error)),
        _ => Ok(()),
    }
}

pub(super) fn pin_error(action: &'static str, path: &Path, source: io::Error) -> DatapathError {
    DatapathError::Pin { action, path: path.to_owned(), source }
}

fn check_file_system(root: &Path) -> Result<(), DatapathError> {
    let existing = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match statfs(existing) {
        Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        _ => Err(DatapathError::NoBpfFileSystem { path: root.to_owned() }),
    }
}

fn check_owner(directory: &Path) -> Result<(), DatapathError> {
    let found = fs::symlink_metadata(directory).map_err(|error| pin_error("look at", directory, error))?;
    let squatted = |what: String| Err(DatapathError::Squatted { path: directory.to_owned(), what });
    if !found.is_dir() {
        return squatted("is not a directory".to_owned());
    }
    if !account::is_trusted(found.uid()) {
        let us = geteuid();
        return squatted(format!("belongs to user {}, not to {us}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return squatted(format!("is open to others (mode {:o})", found.mode() & 0o777));
    }
    Ok(())
}
