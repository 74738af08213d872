//! Gives every reader of `events.sock` a copy of each line.
//!
//! A reader that does not keep up loses lines and is told how many; nobody waits for it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::event::{Line, Loser, Missed};
use crate::account;

/// Lines a reader may be behind.
const BACKLOG: usize = 2048;
/// Readers at a time.
const READERS: usize = 64;
/// Of these, how many places are root's alone: a member of the group who takes all others does not keep root out.
const ROOTS: usize = 8;

/// Why nobody can read events.
#[derive(Debug, Error)]
#[error("cannot listen on {path}: {source}")]
pub(super) struct ServerError {
    path: PathBuf,
    source: io::Error,
}

/// The listening socket. Its file goes with it.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    path: PathBuf,
    sender: Sender,
    /// Free places, and those of them that anybody may take.
    all: Arc<Semaphore>,
    anybodys: Arc<Semaphore>,
}

/// A reader's place, until it goes.
type Place = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Where lines go in.
#[derive(Clone, Debug)]
pub(super) struct Sender(broadcast::Sender<Arc<str>>);

impl Sender {
    /// Is there any reader?
    pub(super) fn has_any(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Hands a line to every reader there is.
    pub(super) fn send(&self, line: &Line) {
        // Fails if there is none.
        let _ = self.0.send(encode(line));
    }
}

fn encode(line: &Line) -> Arc<str> {
    // Cannot fail: plain data, no maps.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text.into()
}

impl Server {
    /// Listens. What a daemon that was killed left there is removed: who starts this holds the lock of its directory.
    pub(super) fn open(path: &Path) -> Result<Self, ServerError> {
        let open = || {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o660))?;
            // Not ours to give, if we are neither root nor a member.
            let _ = account::group().map(|group| chown(path, None, Some(group)));
            Ok(listener)
        };
        let listener = open().map_err(|source| ServerError { path: path.to_owned(), source })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            sender: Sender(broadcast::channel(BACKLOG).0),
            all: Arc::new(Semaphore::new(READERS)),
            anybodys: Arc::new(Semaphore::new(READERS - ROOTS)),
        })
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Accepts one reader and lets it go its way.
    pub(super) async fn accept(&self) {
        match self.listener.accept().await {
            Ok((stream, _)) => match self.place(&stream) {
                Some(place) => drop(tokio::spawn(serve(stream, self.sender.0.subscribe(), place))),
                None => refuse(&stream),
            },
            // No descriptors left, or the like: it passes.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Server {
    fn place(&self, stream: &UnixStream) -> Option<Place> {
        let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
        let shared = if is_root { None } else { Some(Arc::clone(&self.anybodys).try_acquire_owned().ok()?) };
        Some((Arc::clone(&self.all).try_acquire_owned().ok()?, shared))
    }
}

/// Says why, as far as the socket takes it at once.
fn refuse(stream: &UnixStream) {
    let _ = stream.try_write(encode(&Line::Full { readers: READERS }).as_bytes());
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Until the reader hangs up, or the daemon ends.
async fn serve(mut stream: UnixStream, mut lines: Receiver<Arc<str>>, _place: Place) {
    let mut next = Ok(encode(&Line::Ready { version: env!("CARGO_PKG_VERSION").to_owned() }));
    loop {
        let line = match next {
            Ok(line) => line,
            Err(RecvError::Lagged(count)) => encode(&Line::Missed(Missed { count, by: Loser::Reader })),
            Err(RecvError::Closed) => return,
        };
        if stream.write_all(line.as_bytes()).await.is_err() {
            return;
        }
        let mut nothing = [0];
        next = tokio::select! {
            line = lines.recv() => line,
            // Readers have nothing to say but that they are gone.
            _ = stream.read(&mut nothing) => return,
        };
    }
}
