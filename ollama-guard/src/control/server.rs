//! The daemon's end, on a thread of its own: enforcement never waits for it.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener as Socket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{Answer, RELOAD, SNAPSHOT, path};
use crate::account;
use crate::exit::in_words;
use crate::init::Init;
use crate::observe::snapshot::Snapshot;

/// For the question, and again for the answer, slow clients included.
const LIFE: Duration = Duration::from_secs(5);
/// Conversations at a time; whoever comes after waits.
const MOST: usize = 16;

/// For a reload: a long allow-list takes seconds.
const RELOADING: Duration = Duration::from_mins(1);

/// Where snapshots come from: the kernel, or a test.
pub(super) type Source = Box<dyn FnMut() -> anyhow::Result<Snapshot> + Send>;
/// Where reloads are done: the daemon's loop, which says how each went.
pub(super) type Reloads = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// The open socket. Dropping it takes the file away.
#[derive(Debug)]
pub struct Control(Option<PathBuf>);

impl Control {
    /// Opens the socket and answers until the process ends. Whatever goes wrong is logged: only questions of people
    /// without root's rights depend on it. To be called by the holder of the instance lock, so that a file that is
    /// there already is one that nobody listens on.
    pub fn start(run: &Path, source: Source, reloads: Reloads) -> Self {
        let path = path(run);
        match listen(&path).and_then(|socket| spawn(socket, source, reloads)) {
            Ok(()) => Self(Some(path)),
            Err(error) => {
                warn!("only root can ask for the status, {} does not work: {error}", path.display());
                Self(None)
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn listen(path: &Path) -> io::Result<Socket> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::bind(path)?;
    // The service's own files belong to the group anyway; what root makes by hand is handed to it, if it exists.
    let group = if geteuid().is_root() { account::group() } else { None };
    if group.is_some() {
        chown(path, None, group)?;
    }
    // Only now: until here nobody else could connect, because that takes the right to write.
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn spawn(socket: Socket, source: Source, reloads: Reloads) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || match runtime.block_on(accept(socket, Answers { source, last: None }, reloads)) {
        Ok(never) => match never {},
        Err(error) => warn!("only root can ask for the status from now on: {error}"),
    };
    thread::Builder::new().name("control".to_owned()).spawn(serve).map(drop)
}

async fn accept(socket: Socket, mut answers: Answers, reloads: Reloads) -> io::Result<Infallible> {
    let listener = UnixListener::from_std(socket)?;
    let (asked, mut questions) = mpsc::channel::<UnixStream>(MOST);
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = conversations.join_next() => {}
            Some(mut client) = questions.recv() => {
                let answer = answers.next();
                conversations.spawn(async move {
                    let _ = timeout(LIFE, client.write_all(&answer)).await;
                });
            }
            accepted = listener.accept(), if conversations.len() < MOST => match accepted {
                Ok((client, _)) => {
                    let (asked, reloads) = (asked.clone(), reloads.clone());
                    conversations.spawn(async move {
                        // One that asks nothing, or something else, is left: a log would be a way to fill the disk.
                        match timeout(LIFE, question(client)).await {
                            Ok(Ok((client, Question::Snapshot))) => drop(asked.send(client).await),
                            Ok(Ok((client, Question::Reload))) => reload(client, &reloads).await,
                            _ => {}
                        }
                    });
                }
                // No descriptors left, or the like: it passes.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

enum Question {
    Snapshot,
    Reload,
}

/// Reads the question; a client that asks something else is left.
async fn question(mut client: UnixStream) -> io::Result<(UnixStream, Question)> {
    let mut asked = Vec::new();
    while asked.last() != Some(&b'\n') && asked.len() < SNAPSHOT.len() {
        asked.push(client.read_u8().await?);
    }
    match asked.as_slice() {
        SNAPSHOT => Ok((client, Question::Snapshot)),
        RELOAD => Ok((client, Question::Reload)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Members of the group may look, and no more: only root and the service itself have the configuration read again.
async fn reload(mut client: UnixStream, reloads: &Reloads) {
    let may = client.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
    let content = if may {
        let (answer, answered) = oneshot::channel();
        let done = async { reloads.send(answer).await.ok().map(|()| answered)?.await.ok() };
        let late = || Err(format!("it is not done after a minute; see {}", Init::here().log()));
        timeout(RELOADING, done).await.ok().flatten().unwrap_or_else(late)
    } else {
        Err("only root may reload the configuration: use sudo".to_owned())
    };
    let answer = serde_json::to_vec(&Answer { version: env!("CARGO_PKG_VERSION").to_owned(), content });
    let _ = timeout(LIFE, client.write_all(&answer.unwrap_or_default())).await;
}

struct Answers {
    source: Source,
    last: Option<Reading>,
}

struct Reading {
    answer: Arc<[u8]>,
    done: Instant,
    /// A reading serves for as long as it took, so that a crowd of questions costs half of a CPU at most.
    took: Duration,
}

impl Answers {
    fn next(&mut self) -> Arc<[u8]> {
        if let Some(last) = self.last.as_ref().filter(|last| last.done.elapsed() < last.took) {
            return Arc::clone(&last.answer);
        }
        let start = Instant::now();
        let content = (self.source)().map_err(|error| in_words(&error));
        let answer = Answer { version: env!("CARGO_PKG_VERSION").to_owned(), content };
        // Nothing in a snapshot can fail to be written; an empty answer would be understood as a fault.
        let answer: Arc<[u8]> = serde_json::to_vec(&answer).unwrap_or_default().into();
        let took = start.elapsed();
        self.last = Some(Reading { answer: Arc::clone(&answer), done: Instant::now(), took });
        answer
    }
}
