//! The proxy watcher, which enforcement never waits for: what an earlier run guarded counts until it has looked.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::backoff::Backoff;
use crate::derived::{DerivedPort, Lookout, Unknown};
use crate::policy::Service;

/// Between attempts to start the watcher's thread.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The watcher, if it runs, and what is known without it.
#[derive(Debug)]
pub(super) struct Proxies {
    lookout: Option<Lookout>,
    known: Vec<DerivedPort>,
    /// The watcher may start: what the daemon itself needs is there.
    begun: bool,
    backoff: Backoff,
    told: bool,
}

impl Proxies {
    /// Goes on from what an earlier daemon guarded. Starts nothing.
    pub(super) fn resume(known: Vec<DerivedPort>) -> Self {
        Self { lookout: None, known, begun: false, backoff: Backoff::up_to(LONGEST_PAUSE), told: false }
    }

    /// The ports known now that lead to one of these services.
    pub(super) fn ports(&mut self, services: &[Service]) -> Vec<DerivedPort> {
        if let Some(lookout) = &mut self.lookout {
            self.known = lookout.ports();
        }
        let is_guarded = |port: &&DerivedPort| services.iter().any(|service| service.name == port.service);
        self.known.iter().filter(is_guarded).cloned().collect()
    }

    /// What may lead to a guarded port and cannot be known.
    pub(super) fn unknown(&mut self) -> BTreeSet<Unknown> {
        self.lookout.as_mut().map(Lookout::unknown).unwrap_or_default()
    }

    /// Lets the watcher start.
    pub(super) fn begin(&mut self, services: &[Service]) {
        self.begun = true;
        self.look(services);
    }

    /// Has the watcher look, and starts it if it does not run. To be called once everything else is done.
    pub(super) fn look(&mut self, services: &[Service]) {
        if let Some(lookout) = &self.lookout {
            return lookout.look();
        }
        let now = Instant::now();
        if !self.begun || self.backoff.wait(now).is_some() {
            return;
        }
        self.backoff.record(now);
        match Lookout::start(services, &self.known) {
            Ok(lookout) => (self.lookout, self.told) = (Some(lookout), false),
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!("new proxies of containers are not noticed until their watcher starts: {error}");
                }
            }
        }
    }

    /// Other services are guarded from now on.
    pub(super) fn look_for(&mut self, services: &[Service]) {
        if let Some(lookout) = &self.lookout {
            lookout.look_for(services);
        }
    }

    /// Waits until there are other ports, or the watcher has to be started again. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let Some(lookout) = &mut self.lookout else { return pending().await };
        if let Err(error) = lookout.changed().await {
            warn!("{error}; it is started again");
            self.lookout = None;
        }
    }
}
