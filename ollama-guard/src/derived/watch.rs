//! Reads what the decision needs, as seldom as possible: engines are asked only when something has changed.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use super::decide::{Decision, decide, occupies};
use super::engine::{Engines, Language, Socket as EngineSocket};
use super::events::Events;
use super::memory::Memory;
use super::silent::{SilentProxy, is_silent, silent};
use super::{DerivedPort, Forward, arguments, engine};
use crate::config::lockout;
use crate::policy::{Protocol, Service};
use crate::procfs::{self, Process};
use crate::sockets::{self, Socket};

/// How soon a new listener is noticed while containers run, if no engine tells of it. A look reads the tables of sockets.
const PERIOD: Duration = Duration::from_secs(1);
/// An engine lists a container some time after its proxy listens, and some time after it is gone: it is asked again and
/// again for this long after a change.
const SETTLING: Duration = Duration::from_secs(3);
/// And for this long while a container's name is not known: the engine may never let us in.
const NAMELESS: Duration = Duration::from_secs(10);

/// Derived ports as they come and go.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Seen,
    engines: Engines,
    events: Events,
    memory: Memory,
    /// What the memory was made for.
    services: Vec<Service>,
    /// When there was last something else to see.
    changed: Option<Instant>,
    found: Vec<DerivedPort>,
}

/// What there is to see without asking anybody.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Those the policy guards. Others are not read: programs open UDP sockets all the time.
    protocols: BTreeSet<Protocol>,
    sockets: Vec<Socket>,
    processes: Vec<Process>,
}

/// What one look finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The ports to guard.
    pub ports: Vec<DerivedPort>,
    /// Proxies of which nobody knows where they lead.
    pub silent: BTreeSet<SilentProxy>,
}

/// The derived ports right now, read once.
pub fn look(services: &[Service]) -> Found {
    let mut watch = Watch::default();
    watch.read(services, Seen::now(services), true);
    let Decision { present, expected, .. } = watch.decide(services);
    Found { ports: present.into_iter().chain(expected).collect(), silent: watch.silent() }
}

impl Watch {
    /// Goes on from what an earlier daemon guarded.
    pub(super) fn resume(services: &[Service], guarded: &[DerivedPort]) -> Self {
        let memory = Memory::of(guarded, Instant::now());
        Self { memory, services: services.to_vec(), found: guarded.to_vec(), ..Self::default() }
    }

    /// The derived ports right now. Says what is new.
    pub(super) fn look(&mut self, services: &[Service]) -> &[DerivedPort] {
        if self.services != services {
            // A port may lead to nothing that is guarded now.
            services.clone_into(&mut self.services);
            self.memory.clear();
        }
        let seen = Seen::now(services);
        let told = self.events.heard() | self.events.follow(&seen.daemons());
        self.read(services, seen, told);
        let decision = self.decide(services);
        let occupied = |place| self.seen.sockets.iter().any(|socket| occupies(socket, place));
        let found = self.memory.update(decision, Instant::now(), occupied);
        self.tell(&found);
        self.found = found;
        &self.found
    }

    fn tell(&self, found: &[DerivedPort]) {
        let known = |port: &DerivedPort| self.found.iter().find(|known| known.same_port(port));
        for port in found {
            // Whether the proxy or the engine told first is no news.
            if known(port).is_some_and(|known| (&known.container, &known.refused) == (&port.container, &port.refused)) {
                continue;
            }
            match &port.refused {
                None => info!("{port}: guarded too"),
                Some(why) => warn!("{port}: it stays OPEN, because guarding it could lock you out: {why}"),
            }
        }
        for gone in self.found.iter().filter(|gone| !found.iter().any(|port| port.same_port(gone))) {
            info!("{gone}: no longer guarded");
        }
    }

    /// Waits until an engine tells of a container, or a socket has begun or ceased to listen since the last look. Without
    /// containers, forever. Cancel safe.
    pub(super) async fn changed(&self) {
        if self.seen.processes.is_empty() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = self.events.said() => {}
            () = self.sockets_changed() => {}
        }
    }

    async fn sockets_changed(&self) {
        loop {
            sleep(PERIOD).await;
            if self.is_settling() || sockets::listening(&self.seen.protocols) != self.seen.sockets {
                return;
            }
        }
    }

    /// Asks the engines if there is reason to.
    fn read(&mut self, services: &[Service], seen: Seen, told: bool) {
        if told || seen != self.seen {
            (self.seen, self.changed) = (seen, Some(Instant::now()));
        }
        if self.is_settling() || self.decide(services).present.iter().any(|port| !self.is_known(port)) {
            self.engines.ask(&engine::sockets(&self.seen.processes));
        }
    }

    fn is_known(&self, port: &DerivedPort) -> bool {
        self.found.iter().any(|known| known.same_port(port))
    }

    fn is_settling(&self) -> bool {
        let limit = if self.found.iter().any(DerivedPort::is_nameless) { NAMELESS } else { SETTLING };
        self.changed.is_some_and(|changed| changed.elapsed() < limit)
    }

    fn decide(&self, services: &[Service]) -> Decision {
        // Whose sockets these are is a question for every descriptor of every process: only if there is a reason.
        let listeners = OnceCell::new();
        decide(services, &self.forwards(), &self.seen.sockets, |protocol, port| {
            let same = |known: &&DerivedPort| (known.protocol, known.port) == (protocol, port.get());
            match self.found.iter().find(same) {
                Some(known) => known.refused.clone(),
                None => lockout::danger(protocol, port, listeners.get_or_init(lockout::listeners))
                    .map(|danger| danger.to_string()),
            }
        })
    }

    fn forwards(&self) -> Vec<Forward> {
        let proxies = self.seen.processes.iter().filter(|process| arguments::is_proxy(&process.name));
        let mut forwards: Vec<_> = proxies.flat_map(arguments::forwards).collect();
        forwards.extend(self.engines.said().iter().cloned());
        forwards
    }

    pub(super) fn silent(&self) -> BTreeSet<SilentProxy> {
        if self.seen.processes.iter().any(|process| is_silent(&process.name)) {
            silent(&self.seen.sockets, &procfs::owners(), &self.forwards())
        } else {
            BTreeSet::new()
        }
    }
}

impl Seen {
    fn now(services: &[Service]) -> Self {
        let protocols: BTreeSet<_> = services.iter().flat_map(|service| service.protocols.clone()).collect();
        // The sockets first: whose process is not there yet has no socket either.
        let sockets = sockets::listening(&protocols);
        let mut processes = procfs::processes(|name| arguments::is_proxy(name) || engine::is_engine(name));
        let here = procfs::own_namespace();
        // Root's engine in another namespace publishes there. A user's own is always in one, and forwards to here.
        processes.retain(|process| process.user != 0 || process.namespace.is_none() || process.namespace == here);
        processes.sort_by_key(|process| process.id);
        Self { protocols, sockets, processes }
    }

    /// Where root's daemons answer, which tell of their containers.
    fn daemons(&self) -> BTreeSet<PathBuf> {
        let tells = |socket: &EngineSocket| socket.language == Language::Docker && socket.user.is_none();
        engine::sockets(&self.processes).into_iter().filter(tells).map(|socket| socket.path).collect()
    }
}
