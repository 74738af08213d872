//! One daemon at a time: a lock on a file that only root and the service may open.
//!
//! Who holds it is asked of the kernel (`/proc/locks`), never read from a file, and asked again once the process is held by
//! a descriptor, so that a signal meets the daemon or nobody.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use thiserror::Error;

use crate::account;
use crate::exit::as_root;

/// Why the lock could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another daemon runs.
    #[error("ollama-guard already runs{} (it holds {path}); to apply a changed configuration: ollama-guard reload", process(*.pid))]
    Held {
        /// Its process, if it is one that we can see.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// The directory could be changed by others.
    #[error("{path} {what}: others could keep the daemon from starting; make it root's, mode 755")]
    Shared {
        /// The run directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file could not be opened or locked.
    #[error("cannot {action} {path}: {source}{}", as_root(source))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" as process {pid}")).unwrap_or_default()
}

/// Held for as long as the daemon lives; the kernel lets go of it however that ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The daemon's process; none if it is in another PID namespace.
    pub pid: Option<u32>,
}

fn path(run: &Path) -> PathBuf {
    run.join("ollama-guard.lock")
}

impl InstanceLock {
    /// Takes the lock in the run directory, which is made if it is missing.
    pub fn take(run: &Path) -> Result<Self, LockError> {
        let path = path(run);
        let failed = |action| {
            let path = path.clone();
            move |source| LockError::Io { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o755).create(run).map_err(failed("make the directory of"))?;
        check_directory(run)?;
        remove_strange(&path).map_err(failed("remove"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(LockError::Held { pid: holder(&file), path }),
            Err(fs::TryLockError::Error(error)) => Err(failed("lock")(error)),
        }
    }
}

fn check_directory(run: &Path) -> Result<(), LockError> {
    let shared = |what| LockError::Shared { path: run.to_owned(), what };
    let failed = |source| LockError::Io { action: "look at", path: run.to_owned(), source };
    let found = fs::metadata(run).map_err(failed)?;
    if !account::is_trusted(found.uid()) {
        return Err(shared(format!("belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(shared(format!("may be written by others (mode {:o})", found.mode() & 0o777)));
    }
    Ok(())
}

/// A file that others may open, as the first version made it, anybody may hold.
fn remove_strange(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.mode() & 0o777 == 0o600 && account::is_trusted(found.uid()) => Ok(()),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Holder {
    /// Who holds the lock in this run directory, if anybody does. Needs the right to open it.
    pub fn find(run: &Path) -> Option<Self> {
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path(run)).ok()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => Some(Self { pid: holder(&file) }),
            _ => None,
        }
    }

    /// Sends a signal to the daemon; false if it is gone.
    pub fn signal(run: &Path, signal: Signal) -> io::Result<bool> {
        let Some(holder) = Self::find(run) else { return Ok(false) };
        let Some(process) = holder.open(run)? else { return Ok(false) };
        pidfd_send_signal(process, signal)?;
        Ok(true)
    }

    /// The process, held so that its number cannot pass to another; none if it holds the lock no more.
    fn open(self, run: &Path) -> io::Result<Option<OwnedFd>> {
        let elsewhere = || io::Error::other("the daemon is in another PID namespace: stop it there");
        let pid = self.pid.ok_or_else(elsewhere)?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(elsewhere)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((Self::find(run) == Some(self)).then_some(process))
    }
}

/// The process whose lock the kernel lists for this file.
fn holder(file: &File) -> Option<u32> {
    let found = file.metadata().ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    listed(&locks, found.dev(), found.ino())
}

/// Looks a file up in `/proc/locks` (proc(5)): `1: FLOCK  ADVISORY  WRITE 708 00:13:46 0 EOF`. File systems in layers name
/// another device there than `stat` does; the number of the file has to do then.
fn listed(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let exact = format!("{major:02x}:{minor:02x}:{inode}");
    let same_inode = format!(":{inode}");
    let flocks = locks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (fields.get(1) == Some(&"FLOCK") && fields.get(3) == Some(&"WRITE"))
            .then_some((*fields.get(4)?, *fields.get(5)?))
    });
    let all: Vec<_> = flocks.collect();
    let by_file = |wanted: &dyn Fn(&str) -> bool| {
        let mut found = all.iter().filter(|(_, file)| wanted(file));
        found.next().filter(|_| found.next().is_none())
    };
    let found = by_file(&|file| file == exact).or_else(|| by_file(&|file| file.ends_with(&same_inode)));
    found.and_then(|(pid, _)| pid.parse().ok()).filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("og-lock-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    #[test]
    fn the_kernel_says_who_holds_it() {
        let run = folder("held");
        assert_eq!(Holder::find(&run), None);
        let lock = InstanceLock::take(&run).unwrap();
        assert_eq!(fs::metadata(path(&run)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Holder::find(&run), Some(Holder { pid: Some(std::process::id()) }));
        assert!(matches!(InstanceLock::take(&run), Err(LockError::Held { .. })));
        drop(lock);
        assert_eq!(Holder::find(&run), None);
        assert!(!Holder::signal(&run, Signal::TERM).unwrap());
        fs::remove_dir_all(run).unwrap();
    }

    /// As the first version left it: anybody could open it and hold it.
    #[test]
    fn a_lock_that_others_could_take_keeps_nobody_from_starting() {
        let run = folder("strange");
        fs::write(path(&run), "4711\n").unwrap();
        fs::set_permissions(path(&run), fs::Permissions::from_mode(0o644)).unwrap();
        let strangers = File::open(path(&run)).unwrap();
        strangers.lock().unwrap();
        let _lock = InstanceLock::take(&run).unwrap();
        assert_eq!(Holder::find(&run).unwrap().pid, Some(std::process::id()));
        fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(InstanceLock::take(&run), Err(LockError::Shared { .. })));
        fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn a_line_is_found_by_device_and_number() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:1a:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 00:1a:5 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 00:1a:5 0 EOF\n3: FLOCK  ADVISORY  WRITE 10 00:1b:5 0 EOF\n";
        let device = |minor| rustix::fs::makedev(0, minor);
        assert_eq!(listed(locks, device(0x1a), 5), Some(8));
        assert_eq!(listed(locks, device(0x1b), 5), Some(10));
        assert_eq!(listed(locks, device(0x1c), 5), None, "two files have that number");
        assert_eq!(listed(locks, device(0x1a), 6), None);
    }
}
