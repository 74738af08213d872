//! Reads what the decision needs, as seldom as possible: engines are asked only when something has changed.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::exchange::exchange;
use super::{DerivedPort, Forward, arguments, decide, engine};
use crate::config::lockout;
use crate::policy::{Policy, Protocol, Service};
use crate::procfs::{self, Process, Socket};

/// How soon a new listener is noticed while containers run: nothing tells of it. A look reads the tables of sockets.
const PERIOD: Duration = Duration::from_secs(1);
/// An engine lists a container some time after its proxy listens, and some time after it is gone: it is asked again and
/// again for this long after a change.
const SETTLING: Duration = Duration::from_secs(3);
/// And for this long while a container's name is not known: the engine may never let us in.
const NAMELESS: Duration = Duration::from_secs(10);

/// Derived ports as they come and go.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Seen,
    /// What the engines said last.
    said: Vec<Forward>,
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

/// The derived ports right now, read once.
pub fn look(policy: &Policy) -> Vec<DerivedPort> {
    Watch::default().read(policy)
}

impl Watch {
    /// The derived ports right now. Says what is new.
    pub fn look(&mut self, policy: &Policy) -> &[DerivedPort] {
        let found = self.read(policy);
        // Whether the proxy or the engine told first is no news.
        let told = |known: &DerivedPort, port: &DerivedPort| {
            known.same_port(port) && (&known.container, &known.refused) == (&port.container, &port.refused)
        };
        for port in found.iter().filter(|port| !self.found.iter().any(|known| told(known, port))) {
            match &port.refused {
                None => info!("{port}: guarded too"),
                Some(why) => warn!("{port}: it stays OPEN, because guarding it could lock you out: {why}"),
            }
        }
        for gone in self.found.iter().filter(|gone| !found.iter().any(|port| port.same_port(gone))) {
            info!("{gone}: no longer there");
        }
        self.found = found;
        &self.found
    }

    /// Waits until a socket has begun or ceased to listen since the last look, if there are containers. Cancel safe.
    pub async fn changed(&self) {
        if self.seen.processes.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(PERIOD).await;
            if self.is_settling(&self.found) || procfs::listening(&self.seen.protocols) != self.seen.sockets {
                return;
            }
        }
    }

    fn read(&mut self, policy: &Policy) -> Vec<DerivedPort> {
        let seen = Seen::now(policy);
        if seen != self.seen {
            (self.seen, self.changed) = (seen, Some(Instant::now()));
        }
        let mut found = self.decide(policy);
        if self.is_settling(&found) {
            self.said = engine::sockets(&self.seen.processes).iter().flat_map(ask).collect();
            found = self.decide(policy);
        }
        found
    }

    fn is_settling(&self, found: &[DerivedPort]) -> bool {
        let limit = if found.iter().any(DerivedPort::is_nameless) { NAMELESS } else { SETTLING };
        self.changed.is_some_and(|changed| changed.elapsed() < limit)
    }

    fn decide(&self, policy: &Policy) -> Vec<DerivedPort> {
        let proxies = self.seen.processes.iter().filter(|process| arguments::is_proxy(&process.name));
        let mut forwards: Vec<_> = proxies.flat_map(arguments::forwards).collect();
        forwards.extend(self.said.iter().cloned());
        // Whose sockets these are is a question for every descriptor of every process: only if there is a reason.
        let listeners = OnceCell::new();
        decide(policy, &forwards, &self.seen.sockets, |protocol, port| {
            let same = |known: &&DerivedPort| (known.protocol, known.port) == (protocol, port.get());
            match self.found.iter().find(same) {
                Some(known) => known.refused.clone(),
                None => lockout::danger(protocol, port, listeners.get_or_init(lockout::listeners))
                    .map(|danger| danger.to_string()),
            }
        })
    }
}

impl Seen {
    fn now(policy: &Policy) -> Self {
        let protocols = |service: &Service| service.protocols.clone();
        let protocols: BTreeSet<_> = policy.services.iter().flat_map(protocols).collect();
        let mut processes = procfs::processes(|name| arguments::is_proxy(name) || engine::is_engine(name));
        let here = procfs::own_namespace();
        // Root's engine in another namespace publishes there. A user's own is always in one, and forwards to here.
        processes.retain(|process| process.user != 0 || process.namespace.is_none() || process.namespace == here);
        processes.sort_by_key(|process| process.id);
        Self { sockets: procfs::listening(&protocols), protocols, processes }
    }
}

/// An engine that is not there, or that does not let us in, says nothing.
fn ask(socket: &engine::Socket) -> Vec<Forward> {
    let engine::Socket { path, language, user } = socket;
    let answer = exchange(path, language.question());
    if let Err(error) = &answer {
        debug!("{} does not say which ports are published: {error}", path.display());
    }
    answer.ok().and_then(|answer| language.forwards(&answer, *user)).unwrap_or_default()
}
