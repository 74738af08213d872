//! Drops as they happen: from the kernel's ring to the log, and to whoever reads `events.sock`.
//!
//! A thread of its own, which enforcement owes nothing: the daemon's loop starts it, tells it of changes, and never
//! waits for it. The ring has one consumer, which this is; readers get copies, each as many as it keeps up with.

mod allowance;
mod event;
mod log;
mod merge;
#[cfg(test)]
mod sample;
mod server;
mod stays;
mod teller;

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use tracing::{error, warn};

use crate::datapath::{EventRing, PinDirectory};
use crate::plan::services::ServiceTable;
use crate::policy::Paths;
pub use event::{DropEvent, Line, Loser, Missed};
use server::Server;
use teller::Teller;

/// How often it is looked whether there is a ring by now. There is none as long as `wall = false`.
const RETRY: Duration = Duration::from_secs(5);
/// How long an end of the daemon waits for this thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// After entries, how long until it looks for more without being woken: longer than any kernel's tick (10 ms), in which a
/// processor wakes only once.
const SETTLING: Duration = Duration::from_millis(20);
/// Entries read before others have their turn.
const BATCH: usize = 4096;

/// The socket of a daemon with this run directory.
pub fn socket(run: &Path) -> PathBuf {
    run.join("events.sock")
}

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub struct Events {
    services: Option<watch::Sender<ServiceTable>>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Starts to tell. Whatever goes wrong is logged.
    pub fn start(paths: Paths, services: ServiceTable) -> Self {
        let (sender, receiver) = watch::channel(services);
        let run = move || {
            if let Err(error) = run(receiver, &paths) {
                error!("drops are not logged (enforcement is not affected): {error}");
            }
        };
        let thread = thread::Builder::new().name("events".to_owned()).spawn(run);
        let thread = thread.inspect_err(|error| error!("drops are not logged: cannot start their thread: {error}"));
        Self { services: Some(sender), thread: thread.ok() }
    }

    /// Another policy has other services.
    pub fn change(&self, services: &ServiceTable) {
        if let Some(sender) = &self.services {
            sender.send_replace(services.clone());
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // The thread ends when nobody can change its services any more, and removes its socket.
        drop(self.services.take());
        let start = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn run(services: watch::Receiver<ServiceTable>, paths: &Paths) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tell(services, paths));
    Ok(())
}

async fn tell(mut services: watch::Receiver<ServiceTable>, paths: &Paths) {
    let server = Server::open(&socket(&paths.run));
    let server = server.inspect_err(|error| warn!("`ollama-guard events` does not work: {error}")).ok();
    let pins = PinDirectory::at(&paths.bpf);
    let mut teller = Teller::new(services.borrow_and_update().clone(), server.as_ref().map(Server::sender));
    let (mut source, mut told) = (None, false);
    loop {
        if source.is_none() {
            source = match open(&pins) {
                Ok(source) => source.inspect(|source| teller.begin(source.ring.get_ref())),
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!("drops are not logged yet (enforcement is not affected): {error}");
                    }
                    None
                }
            };
        }
        let next = teller.next_look();
        tokio::select! {
            changed = services.changed() => match changed {
                Ok(()) => teller.set_services(services.borrow_and_update().clone()),
                Err(_) => return,
            },
            () = accept(server.as_ref()) => {}
            () = read(source.as_mut(), &mut teller) => {}
            () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                if let Some(source) = &source {
                    teller.look(source.ring.get_ref());
                }
            }
            () = sleep(RETRY), if source.is_none() => {}
        }
    }
}

/// The ring and when to read on in any case.
struct Source {
    ring: AsyncFd<EventRing>,
    again: Option<Instant>,
}

fn open(pins: &PinDirectory) -> anyhow::Result<Option<Source>> {
    let Some(ring) = EventRing::open(pins)? else { return Ok(None) };
    // SAFETY: the ring keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
    let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
    Ok(Some(Source { ring: ring.map_err(io::Error::from)?, again: None }))
}

async fn accept(server: Option<&Server>) {
    match server {
        Some(server) => server.accept().await,
        None => std::future::pending().await,
    }
}

/// Waits for entries and tells of them. Cancel safe: nothing is read before all is there.
async fn read(source: Option<&mut Source>, teller: &mut Teller) {
    let Some(Source { ring, again }) = source else { return std::future::pending().await };
    match *again {
        Some(again) => sleep_until(again.into()).await,
        None => match ring.readable_mut().await {
            Ok(mut ready) => ready.clear_ready(), // What comes from now on makes it ready again.
            Err(_) => return,
        },
    }
    let mut count = 0;
    while count < BATCH
        && let Some(event) = ring.get_mut().read()
    {
        teller.tell(event);
        count += 1;
    }
    *again = match count {
        0 => None,
        BATCH => Some(Instant::now()),
        _ => Some(Instant::now() + SETTLING),
    };
}
