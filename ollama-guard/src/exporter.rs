//! Serves the metrics over HTTP, on a thread of its own.
//!
//! Enforcement owes it nothing: the daemon's loop starts it, tells it of changes, and never waits for it. A port that is
//! taken, a panic or a crowd of clients cost the metrics and nothing else.

pub mod activation;
mod connections;
mod listener;
mod pages;
mod reader;
#[cfg(test)]
mod tests;
pub mod web;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::observe::collect::collect;
use crate::observe::metrics::Reload;
use crate::policy::{Listen, Paths, Policy};
use connections::Connections;
use listener::Listeners;
use reader::Reader;
use web::{Keeper, Web};

/// A port may come free, and an address may come up with its VPN.
const RETRY: Duration = Duration::from_secs(5);
/// How long an end of the daemon waits for this thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the configuration says of the metrics.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; `None` switches the metrics off.
    pub listen: Option<Listen>,
    /// What is asked of whoever connects; see [`web`].
    pub web: Option<PathBuf>,
    /// Sources with series of their own.
    pub exported: usize,
    /// What to read.
    pub paths: Paths,
    /// The configuration file to name in advice.
    pub config: PathBuf,
    /// How the configuration fared.
    pub reload: Reload,
}

impl Settings {
    /// As a policy has them.
    pub fn new(policy: &Policy, config: PathBuf, reload: Reload) -> Self {
        Self {
            listen: policy.metrics.clone(),
            web: policy.web_config.clone(),
            exported: usize::try_from(policy.sources.exported).unwrap_or(usize::MAX),
            paths: policy.paths.clone(),
            config,
            reload,
        }
    }
}

/// The running exporter. Dropping it ends it.
#[derive(Debug)]
pub struct Exporter {
    settings: Option<watch::Sender<Settings>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts to serve, on these sockets if systemd passed any. Whatever goes wrong is logged.
    pub fn start(settings: Settings, inherited: Vec<OwnedFd>) -> Self {
        let (sender, receiver) = watch::channel(settings);
        let run = move || {
            if let Err(error) = serve(receiver, &inherited) {
                error!("metrics are unavailable (enforcement is not affected): {error}");
            }
        };
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(run);
        let thread = thread.inspect_err(|error| {
            error!("metrics are unavailable (enforcement is not affected): cannot start a thread: {error}");
        });
        Self { settings: Some(sender), thread: thread.ok() }
    }

    /// Changes the settings; a changed address is bound at once.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        if let Some(settings) = &self.settings {
            settings.send_modify(change);
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // The thread ends when nobody can change its settings any more, and removes its unix socket.
        drop(self.settings.take());
        let start = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Serves until the source of the settings is gone.
fn serve(settings: watch::Receiver<Settings>, inherited: &[OwnedFd]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reader = Reader::new(settings.clone(), Box::new(|settings| collect(&settings.paths, &settings.config)));
    runtime.block_on(accept(settings, reader, inherited));
    Ok(())
}

async fn accept(mut settings: watch::Receiver<Settings>, reader: Reader, inherited: &[OwnedFd]) {
    let reader = Arc::new(Mutex::new(reader));
    let mut connections = Connections::default();
    let (mut door, mut bound, mut told) = (Door::default(), None, None);
    loop {
        let wanted = {
            let settings = settings.borrow_and_update();
            (settings.listen.clone(), settings.web.clone())
        };
        if bound.as_ref() != Some(&wanted) {
            // The old one first: the new address may contain it.
            door = Door::default();
            match Door::open(wanted.0.as_ref(), wanted.1.as_deref(), inherited) {
                Ok(opened) => {
                    match opened.to_string() {
                        places if places.is_empty() => info!("metrics are switched off"),
                        places => info!("metrics are at {places}"),
                    }
                    (door, bound, told) = (opened, Some(wanted), None);
                }
                Err(error) => {
                    let words = error.to_string();
                    if told.as_ref() != Some(&words) {
                        warn!("metrics are unavailable (enforcement is not affected): {words}");
                    }
                    (bound, told) = (None, Some(words));
                }
            }
        }
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            accepted = door.listeners.accept() => match accepted {
                Ok(stream) => connections.add(stream, door.web(), &reader),
                // No descriptors left, or the like: it passes.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            () = sleep(RETRY), if bound.is_none() => {}
        }
    }
}

/// Where connections come in, and what is asked of them.
#[derive(Default)]
struct Door {
    listeners: Listeners,
    keeper: Option<Keeper>,
}

impl Door {
    /// What is asked first: nobody comes in while that is unknown.
    fn open(listen: Option<&Listen>, web: Option<&Path>, inherited: &[OwnedFd]) -> anyhow::Result<Self> {
        let keeper = web.filter(|_| listen.is_some()).map(Keeper::open).transpose()?;
        Ok(Self { listeners: Listeners::open(listen, inherited)?, keeper })
    }

    /// What is asked of the next connection.
    fn web(&mut self) -> Web {
        let Some(keeper) = &mut self.keeper else { return Web::default() };
        let (web, news) = keeper.current();
        match news {
            Some(Ok(())) => info!("the metrics' web configuration was read anew"),
            Some(Err(error)) => error!("the metrics' web configuration before the change stays in force: {error}"),
            None => {}
        }
        web
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.listeners.to_string();
        let encrypted = self.keeper.as_ref().is_some_and(|keeper| keeper.web().tls.is_some());
        f.write_str(&if encrypted { places.replace("http://", "https://") } else { places })
    }
}
