//! One daemon at a time: a lock on a file that names its holder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::exit::as_root;

/// Why the lock could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another daemon runs.
    #[error(
        "ollama-guard already runs as process {pid} (it holds {path}); apply a changed configuration with: kill -HUP {pid}"
    )]
    Held {
        /// Its process.
        pid: u32,
        /// The lock file.
        path: PathBuf,
    },
    /// The file could not be opened, locked or written.
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

/// Held for as long as the daemon lives; the kernel lets go of it however that ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The daemon's process.
    pub pid: u32,
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
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(&path).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file).unwrap_or(0);
                return Err(LockError::Held { pid, path });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

impl Holder {
    /// Who holds the lock in this run directory, if anybody does. Needs no privileges.
    pub fn find(run: &Path) -> Option<Self> {
        let mut file = File::open(path(run)).ok()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => Some(Self { pid: read_pid(&mut file)? }),
            _ => None,
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
