//! The client's end: for those who may not read the kernel themselves.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;

use super::{Answer, RELOAD, SNAPSHOT, path};
use crate::account;
use crate::init::Init;
use crate::observe::snapshot::Snapshot;

/// The daemon reads the kernel in tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// A long allow-list takes seconds, and so do programs on a slow machine.
const RELOADING: Duration = Duration::from_mins(1);
/// In bytes: every source that can be tracked.
const LONGEST: usize = 1 << 30;

/// Why the daemon gave no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The user is not in the group.
    #[error("permission denied on {}: {}", path.display(), account::join())]
    NotMember {
        /// The socket.
        path: PathBuf,
    },
    /// There is no daemon.
    #[error(
        "no daemon answers at {}, and without one only root can read the kernel: use sudo, or start it \
         ({})", path.display(), Init::here().start()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation failed.
    #[error("the daemon did not answer at {}: {source}; use sudo, or restart it", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The daemon is another program than this one.
    #[error(
        "the daemon that runs is ollama-guard {daemon}, this is {}; restart it: {}",
        env!("CARGO_PKG_VERSION"), Init::here().restart()
    )]
    OtherVersion {
        /// The daemon's version.
        daemon: String,
    },
    /// The daemon could not read the kernel either.
    #[error("the daemon says: {0}")]
    Refused(String),
}

/// What the daemon of this run directory reads from the kernel.
pub fn ask(run: &Path) -> Result<Snapshot, AskError> {
    request(run, SNAPSHOT, PATIENCE)
}

/// Has the daemon read its configuration again, and waits until that is in force.
pub fn reload(run: &Path) -> Result<(), AskError> {
    request(run, RELOAD, RELOADING)
}

fn request<T: DeserializeOwned>(run: &Path, question: &[u8], patience: Duration) -> Result<T, AskError> {
    let path = path(run);
    let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => AskError::NotMember { path: path.clone() },
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: path.clone() },
        _ => AskError::Broken { path: path.clone(), source },
    })?;
    let answer = converse(stream, question, patience).and_then(|text| understand(&text));
    answer.map_err(|source| AskError::Broken { path, source })?
}

fn converse(mut stream: UnixStream, question: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let (start, mut text) = (Instant::now(), Vec::new());
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(question)?;
    let mut buffer = vec![0; 64 << 10];
    while text.len() < LONGEST {
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return Ok(text),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

/// Another version's answer is not understood even where it could be: a field may have changed its meaning.
fn understand<T: DeserializeOwned>(text: &[u8]) -> io::Result<Result<T, AskError>> {
    let Answer { version, .. } = serde_json::from_slice::<Answer<IgnoredAny>>(text)?;
    if version != env!("CARGO_PKG_VERSION") {
        return Ok(Err(AskError::OtherVersion { daemon: version }));
    }
    let Answer { content, .. } = serde_json::from_slice::<Answer<T>>(text)?;
    Ok(content.map_err(AskError::Refused))
}
