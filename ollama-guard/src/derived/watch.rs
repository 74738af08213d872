//! Reads what the decision needs, as seldom as possible: engines are asked only when something has changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use super::decide::{Decision, Facts, decide, occupies, service};
use super::engine::{Engines, Language, Socket as EngineSocket};
use super::events::Events;
use super::holders::Holders;
use super::ipvs::{self, VirtualServices};
use super::memory::{Memory, Occupant};
use super::unknown::{Unknown, is_orchestrator, is_rootlessport};
use super::{Deadline, DerivedPort, Forward, arguments, engine};
use crate::config::lockout;
use crate::policy::{Protocol, Service};
use crate::procfs::{self, Process};
use crate::quota::Quota;
use crate::sockets::{self, Socket};

/// How soon a new listener is noticed while containers run, if no engine tells of it. A look reads the tables of sockets.
const PERIOD: Duration = Duration::from_secs(1);
/// A whole look may take this long, whatever others do.
const BUDGET: Duration = Duration::from_secs(1);
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
    /// What was said not to be known.
    unknown: BTreeSet<Unknown>,
}

/// What there is to see without asking anybody.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Those the policy guards. Others are not read: programs open UDP sockets all the time.
    protocols: BTreeSet<Protocol>,
    sockets: Vec<Socket>,
    candidates: Vec<Candidate>,
    virtual_services: VirtualServices,
    /// There was time for all processes.
    complete: bool,
}

/// A process that may have to do with a proxy, by its name.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    id: u32,
    user: u32,
    role: Role,
}

/// What its name stands for.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    /// Its arguments say where it leads.
    Proxy(Vec<Forward>),
    /// Something that answers there does.
    Engine(Vec<EngineSocket>),
    /// It does not say.
    Rootlessport,
    /// What it publishes cannot be seen.
    Orchestrator(String),
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
        let until = Instant::now() + BUDGET;
        let seen = Seen::now(services, until);
        let told = self.events.heard() | self.events.follow(&seen.daemons());
        self.read(services, seen, told, until);
        let decision = self.decide(services, until);
        let unknown = self.all_unknown(decision.unknown.clone(), until);
        let occupant = |place, user| {
            let mut users = self.seen.sockets.iter().filter(|socket| occupies(socket, place)).map(|socket| socket.user);
            match users.next() {
                None => Occupant::Nobody,
                Some(first) if first == user && users.all(|other| other == user) => Occupant::Same,
                Some(_) => Occupant::Another,
            }
        };
        let found = self.memory.update(decision, Instant::now(), occupant);
        self.tell(&found);
        for one in unknown.difference(&self.unknown) {
            warn!("{one}");
        }
        (self.found, self.unknown) = (found, unknown);
        &self.found
    }

    /// What may lead to a guarded port and cannot be known, as of the last look.
    pub(super) const fn unknown(&self) -> &BTreeSet<Unknown> {
        &self.unknown
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
        if self.seen.candidates.is_empty() && self.seen.virtual_services == VirtualServices::default() {
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
    fn read(&mut self, services: &[Service], seen: Seen, told: bool, until: Deadline) {
        if told || seen != self.seen {
            (self.seen, self.changed) = (seen, Some(Instant::now()));
        }
        if self.is_settling() || self.decide(services, until).present.iter().any(|port| !self.is_known(port)) {
            self.engines.ask(&engine::asked(self.seen.engines().cloned()), until);
        }
    }

    fn is_known(&self, port: &DerivedPort) -> bool {
        self.found.iter().any(|known| known.same_port(port))
    }

    fn is_settling(&self) -> bool {
        let limit = if self.found.iter().any(DerivedPort::is_nameless) { NAMELESS } else { SETTLING };
        self.changed.is_some_and(|changed| changed.elapsed() < limit)
    }

    fn decide(&self, services: &[Service], until: Deadline) -> Decision {
        let holders = Holders::new(until);
        // The socket is the proxy's own: no sshd listens there. What is well known may be published and start later.
        let danger = |protocol, port| lockout::danger(protocol, port, &[]).map(|danger| danger.to_string());
        let facts = Facts {
            services,
            forwards: &self.forwards(),
            sockets: &self.seen.sockets,
            held: &|id, user, socket| holders.hold(id, user, socket),
            danger: &danger,
        };
        decide(&facts, &self.memory.places())
    }

    fn forwards(&self) -> Vec<Forward> {
        let proxies = self.seen.candidates.iter().filter_map(|one| match &one.role {
            Role::Proxy(forwards) => Some(forwards),
            _ => None,
        });
        proxies.flatten().chain(&self.seen.virtual_services.forwards).chain(self.engines.said()).cloned().collect()
    }

    /// What the decision left open, and what it was never asked about.
    fn all_unknown(&self, mut unknown: BTreeSet<Unknown>, until: Deadline) -> BTreeSet<Unknown> {
        let (holders, forwards) = (Holders::new(until), self.forwards());
        let explained = |socket: &Socket| {
            forwards.iter().any(|forward| forward.target_of((socket.protocol, socket.port)).is_some())
        };
        for Candidate { id, user, role } in &self.seen.candidates {
            let sockets = || holders.held(*id, *user, &self.seen.sockets).filter(|socket| !explained(socket));
            match role {
                Role::Rootlessport => unknown.extend(sockets().map(|socket| Unknown::Rootlessport {
                    protocol: socket.protocol,
                    port: socket.port,
                    user: *user,
                })),
                Role::Engine(_) if *user == 0 && self.engines.works_for_a_swarm() => {
                    let published = sockets().filter(|socket| !SWARM_S_OWN.contains(&socket.port));
                    unknown.extend(published.map(|one| Unknown::Swarm { protocol: one.protocol, port: one.port }));
                }
                Role::Orchestrator(name) if *user == 0 => drop(unknown.insert(Unknown::Orchestrator(name.clone()))),
                _ => {}
            }
        }
        unknown.extend(self.seen.virtual_services.marks.iter().copied().map(Unknown::Mark));
        unknown.extend((!self.seen.complete).then_some(Unknown::Hurried));
        while unknown.len() > MOST_UNKNOWN {
            unknown.pop_first();
        }
        unknown
    }
}

/// What a swarm's nodes listen on for each other, and the engine's own API.
const SWARM_S_OWN: [u16; 4] = [2375, 2376, 2377, 7946];
/// Users can make as many of these as they like.
const MOST_UNKNOWN: usize = 32;

impl Seen {
    fn now(services: &[Service], until: Deadline) -> Self {
        let protocols: BTreeSet<_> = services.iter().flat_map(|service| service.protocols.clone()).collect();
        // The sockets first: whose process is not there yet has no socket either.
        let sockets = sockets::listening(&protocols);
        let wanted = |name: &str| {
            arguments::is_proxy(name) || engine::is_engine(name) || is_rootlessport(name) || is_orchestrator(name)
        };
        let (mut processes, complete) = procfs::processes(wanted, &mut Quota::new(8192, 128, 1024), until);
        processes.sort_by_key(|process| (process.user, process.id));
        let mut quota = Quota::new(8192, 256, 2048);
        let candidates = processes.into_iter().map(|process| Candidate::new(&process, &mut quota)).collect();
        let guards = |protocol, port| service(services, (protocol, port)).is_some();
        Self { protocols, sockets, candidates, virtual_services: ipvs::read(guards), complete }
    }

    fn engines(&self) -> impl Iterator<Item = &EngineSocket> {
        let sockets = self.candidates.iter().filter_map(|one| match &one.role {
            Role::Engine(sockets) => Some(sockets),
            _ => None,
        });
        sockets.flatten()
    }

    /// Where root's daemons answer, which tell of their containers.
    fn daemons(&self) -> BTreeSet<PathBuf> {
        let tells = |socket: &&EngineSocket| socket.language == Language::Docker && socket.user == 0;
        engine::asked(self.engines().filter(tells).cloned()).into_iter().map(|socket| socket.path).collect()
    }
}

impl Candidate {
    /// `quota`: of forwards.
    fn new(process: &Process, quota: &mut Quota) -> Self {
        let Process { id, ref name, user, .. } = *process;
        let role = if arguments::is_proxy(name) {
            let mut forwards = arguments::forwards(process);
            forwards.retain(|_| quota.take(user));
            forwards.shrink_to_fit();
            Role::Proxy(forwards)
        } else if is_rootlessport(name) {
            Role::Rootlessport
        } else if is_orchestrator(name) {
            Role::Orchestrator(name.clone())
        } else {
            Role::Engine(engine::sockets(process))
        };
        Self { id, user, role }
    }
}
