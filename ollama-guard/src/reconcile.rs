//! Desired against actual: one pass makes the kernel hold what the plan says. It reads everything each time, so that
//! whatever woke it, and whatever it missed, the outcome is the same.
//!
//! Each layer goes up without the other. The nftables rules come first, then the programs, and only then does anything look
//! at what others can influence.

mod ebpf;
mod lock;
mod proxies;
pub mod record;
mod seatbelt;
mod wall;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
pub use lock::{Holder, InstanceLock, LockError};
pub use seatbelt::ruleset;
use tracing::{info, warn};

use crate::config::lockout::{self, Listener, Spared};
use crate::datapath::{Coming, PinDirectory, State, Wall};
use crate::derived::DerivedPort;
use crate::links::Links;
use crate::plan::class::{Placement, Placements};
use crate::plan::services::ServiceTable;
use crate::policy::{Paths, Policy};
use ebpf::Ebpf;
use proxies::Proxies;

/// Owns every change to the kernel.
#[derive(Debug)]
pub struct Reconciler {
    /// As the configuration has it.
    wanted: Policy,
    /// In force: the same without what is spared.
    policy: Policy,
    /// How people get into this host, as far as known.
    ways_in: Vec<Listener>,
    spared: Vec<Spared>,
    services: ServiceTable,
    since: u64,
    /// What the seatbelt had caught when the wall last changed.
    caught_before: BTreeMap<String, u64>,
    /// Repairs of the table by earlier runs.
    repairs_before: u64,
    /// Sources removed by earlier runs.
    forgotten_before: u64,
    ebpf: Ebpf,
    seatbelt: seatbelt::Keeper,
    refusals: wall::Refusals,
    lowered: wall::Lowered,
    proxies: Proxies,
    /// What was last said of each interface, so that it is said once.
    told: BTreeMap<u32, String>,
    /// The state last written down; at first, by an earlier run.
    written: Option<State>,
    /// The last failure to write it down, said once.
    unwritten: Option<String>,
    /// The policy is another one than what was written down.
    is_new: bool,
}

/// What the plan depends on besides the policy: this host's interfaces and proxies.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its interfaces.
    pub links: &'a Links,
    /// What the policy makes of them.
    pub placements: &'a Placements,
    /// Ports that lead to guarded ones.
    pub derived: &'a [DerivedPort],
}

impl Host<'_> {
    /// The derived ports that may be guarded.
    fn guarded(&self) -> impl Iterator<Item = &DerivedPort> {
        self.derived.iter().filter(|port| port.refused.is_none())
    }
}

/// What one pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Interfaces with a program of ours.
    pub attached: usize,
    /// Interfaces that should have one and have not.
    pub failed: usize,
    /// Some interface has a lesser hook, because a better one is taken just now.
    pub busy: bool,
    /// Links, programs or tables that were changed.
    pub changed: usize,
    /// Why the eBPF layer as a whole is wanted and not in place.
    pub wall_failed: Option<String>,
    /// Why the nftables layer is wanted and not in place.
    pub seatbelt_failed: Option<String>,
    /// There is more to do, or somebody undoes what is done; try again after this time.
    pub retry: Option<Duration>,
}

impl Reconciler {
    /// Takes over what an earlier daemon wrote down. Changes nothing before the first [`Self::pass`], and waits for nobody.
    pub fn new(wanted: Policy) -> Self {
        let earlier = earlier(&wanted.paths);
        let ways_in = earlier.as_ref().map(|state| state.ways_in.clone()).unwrap_or_default();
        let spared = spared(&wanted, &ways_in, &[]);
        let policy = lockout::spare(wanted.clone(), &spared);
        let table = earlier.as_ref().map(|state| state.services.clone()).unwrap_or_default();
        let (services, _) = table.update(&policy);
        let (since, repairs_before, forgotten_before) =
            earlier.as_ref().map_or_else(|| (now(), 0, 0), |state| (state.since, state.repairs, state.forgotten));
        Self {
            wanted,
            policy,
            ways_in,
            spared,
            services,
            since,
            caught_before: earlier.as_ref().map(|state| state.caught_before.clone()).unwrap_or_default(),
            repairs_before,
            forgotten_before,
            ebpf: Ebpf::default(),
            seatbelt: seatbelt::Keeper::default(),
            refusals: wall::Refusals::default(),
            lowered: wall::Lowered::default(),
            proxies: Proxies::resume(earlier.as_ref().map(|state| state.derived.clone()).unwrap_or_default()),
            told: BTreeMap::new(),
            written: earlier,
            unwritten: None,
            is_new: true,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Which counter index is which service.
    pub fn services(&self) -> &ServiceTable {
        &self.services
    }

    /// Puts another policy in force at the next pass.
    pub fn set_policy(&mut self, wanted: Policy) -> anyhow::Result<()> {
        if let Some(why) = self.ebpf.failure().filter(|_| wanted.layers.wall && !wanted.layers.seatbelt) {
            bail!("`seatbelt = false` would open the port, because the eBPF layer is not in place: {why}");
        }
        self.spared = spared(&wanted, &self.ways_in, &self.spared);
        self.change(lockout::spare(wanted.clone(), &self.spared))?;
        self.wanted = wanted;
        self.forgive();
        Ok(())
    }

    /// This is how people get into this host; a port by which they do is opened at the next pass.
    pub fn know(&mut self, ways_in: Vec<Listener>) -> anyhow::Result<()> {
        let spared = spared(&self.wanted, &ways_in, &self.spared);
        self.change(lockout::spare(self.wanted.clone(), &spared))?;
        (self.ways_in, self.spared) = (ways_in, spared);
        Ok(())
    }

    fn change(&mut self, policy: Policy) -> anyhow::Result<()> {
        let (services, recycled) = self.services.update(&policy);
        if let Some(wall) = &self.ebpf.wall {
            wall.clear_services(&recycled)?;
        }
        if policy != self.policy {
            self.seatbelt.forget();
            self.lowered = wall::Lowered::default();
            self.is_new = true;
        }
        if policy.services != self.policy.services {
            self.proxies.look_for(&policy.services);
        }
        (self.policy, self.services) = (policy, services);
        Ok(())
    }

    /// What refused is tried again at the next pass.
    pub fn forgive(&mut self) {
        self.refusals.clear();
        self.ebpf.forgive();
    }

    /// Makes the kernel hold what policy and interfaces call for.
    pub fn pass(&mut self) -> anyhow::Result<Pass> {
        let links = match Links::read().context("cannot list the network interfaces") {
            Ok(links) => links,
            Err(error) => {
                if self.policy.layers.seatbelt && !self.seatbelt.stands() {
                    self.close_by_name();
                }
                return Err(error);
            }
        };
        self.ebpf.adopt(&self.policy);
        let placements = Placements::new(&self.policy, &links);
        let derived = self.proxies.ports(&self.policy.services);
        let host = Host { links: &links, placements: &placements, derived: &derived };
        self.announce(&host);
        // The seatbelt first: it covers every interface at once, by name.
        let belt = if self.policy.layers.seatbelt {
            self.seatbelt.plan(&self.policy, &host);
            self.seatbelt.pass()
        } else {
            seatbelt::Outcome::default()
        };
        let mut pass = Pass { retry: belt.retry, changed: usize::from(belt.changed), ..Pass::default() };
        let enforced = self.pass_ebpf(&host, belt.failed.is_some(), &mut pass);
        pass.seatbelt_failed = belt.failed;
        if !self.policy.layers.seatbelt && pass.wall_failed.is_none() {
            self.seatbelt.remove()?; // only now: what takes its place stands
        }
        self.write_down(&host, enforced);
        if let Some(wall) = self.ebpf.wall.as_mut().filter(|_| pass.wall_failed.is_none()) {
            wall.retain_programs(self.lowered.programs())?;
            if pass.failed == 0 && wall.retire_others()? {
                info!("what another version of ollama-guard had attached is gone: this one has taken over");
                pass.retry = Some(Duration::ZERO);
            }
        }
        self.proxies.look(&self.policy.services);
        Ok(pass)
    }

    /// Netlink port of our own changes to nftables, which are no news.
    pub fn seatbelt_port(&self) -> Option<u32> {
        self.seatbelt.port()
    }

    /// The eBPF layer stands: nftables is not the only one.
    pub fn ebpf_stands(&self) -> bool {
        self.policy.layers.wall && self.ebpf.wall.is_some() && self.ebpf.failure().is_none()
    }

    /// Something is enforced.
    pub fn stands(&self) -> bool {
        self.seatbelt.stands() || self.ebpf_stands()
    }

    /// There are pins to look after.
    pub fn pins(&self) -> bool {
        self.ebpf.wall.is_some()
    }

    /// Begins to look for proxies, beside everything else.
    pub fn watch_proxies(&mut self) {
        self.proxies.begin(&self.policy.services);
    }

    /// Waits until there are other derived ports. Cancel safe.
    pub async fn proxies_changed(&mut self) {
        self.proxies.changed().await;
    }

    /// The rules go by names: without any fact about the interfaces they close the port on all that are not trusted.
    fn close_by_name(&mut self) {
        let (links, placements) = (Links::default(), Placements::default());
        let derived = self.proxies.ports(&self.policy.services);
        self.seatbelt.plan(&self.policy, &Host { links: &links, placements: &placements, derived: &derived });
        self.seatbelt.pass();
    }

    /// Writes down what comes, before it does: meanwhile the old or the new is in force.
    fn announce(&mut self, host: &Host<'_>) {
        let Some(written) = self.written.as_ref().filter(|written| self.is_new || written.derived != host.derived)
        else {
            return;
        };
        let mut programs = written.programs.clone();
        programs.extend(wall::keys(&self.policy, &self.services, host, &mut self.lowered));
        let coming = Coming {
            policy: self.policy.without_long_list(),
            allow_elided: self.policy.has_long_list(),
            derived: host.derived.to_vec(),
        };
        self.write(State { programs, coming: Some(coming), ..written.clone() });
    }

    /// The eBPF layer. What goes wrong is noted and leaves the other one alone.
    fn pass_ebpf(&mut self, host: &Host<'_>, belt_failed: bool, pass: &mut Pass) -> wall::Outcome {
        let wanted = self.policy.layers.wall;
        // Switched off, and nothing takes its place: what stands stays.
        if !wanted && belt_failed {
            return wall::Outcome::default();
        }
        let mut outcome = wall::Outcome::default();
        if self.ebpf.is_due() {
            self.ebpf.open(&self.policy);
            match self.try_ebpf(host) {
                Some(Ok(enforced)) => {
                    outcome = enforced;
                    self.ebpf.stands(&self.policy);
                }
                Some(Err(error)) => self.ebpf.fails(&self.policy, error.into()),
                None => {}
            }
        }
        pass.wall_failed = self.ebpf.failure().filter(|_| wanted).cloned();
        pass.attached = outcome.attached;
        pass.failed = outcome.failed.len();
        pass.busy = outcome.busy;
        pass.changed += outcome.changed;
        for (index, words) in &outcome.words {
            if self.told.get(index) != Some(words) {
                if outcome.failed.contains(index) { warn!("{words}") } else { info!("{words}") }
            }
        }
        self.told = std::mem::take(&mut outcome.words);
        if outcome.changed > 0 {
            self.caught_before = self.seatbelt.caught();
        } else if pass.changed > 0 {
            // The table was written. If somebody had deleted it, it counts from zero again.
            let now = self.seatbelt.caught();
            let count = |interface: &String| now.get(interface).copied().unwrap_or_default();
            self.caught_before.iter_mut().for_each(|(interface, before)| *before = count(interface).min(*before));
        }
        outcome
    }

    fn try_ebpf(&mut self, host: &Host<'_>) -> Option<Result<wall::Outcome, crate::datapath::DatapathError>> {
        let nowhere = Placements::default();
        let host = if self.policy.layers.wall { *host } else { Host { placements: &nowhere, ..*host } };
        let wall = self.ebpf.wall.as_mut()?;
        Some(wall::reconcile(wall, &self.policy, &self.services, &host, &mut self.refusals, &mut self.lowered))
    }

    fn write_down(&mut self, host: &Host<'_>, enforced: wall::Outcome) {
        let failure = self.ebpf.failure().filter(|_| self.policy.layers.wall).cloned();
        let programs = if failure.is_some() {
            wall::keys(&self.policy, &self.services, host, &mut self.lowered)
        } else {
            enforced.programs.iter().map(|key| key.as_str().to_owned()).collect()
        };
        self.write(State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            policy: self.policy.without_long_list(),
            allow_elided: self.policy.has_long_list(),
            services: self.services.clone(),
            programs,
            hook_reasons: enforced.reasons,
            derived: host.derived.to_vec(),
            caught_before: self.caught_before.clone(),
            repairs: self.repairs_before + self.seatbelt.repairs(),
            forgotten: self.forgotten_before + self.ebpf.wall.as_ref().map_or(0, Wall::forgotten),
            coming: None,
            wall_failure: failure,
            seen: fingerprint(host.links),
            silent: self.proxies.silent(),
            spared: self.spared.clone(),
            ways_in: self.ways_in.clone(),
        });
        self.is_new = false;
    }

    /// A record that cannot be written is told; enforcement does not need it.
    fn write(&mut self, state: State) {
        if self.written.as_ref() == Some(&state) && self.unwritten.is_none() {
            return;
        }
        match record::write(&self.policy.paths.run, self.ebpf.wall.as_ref(), &state) {
            Ok(()) => self.unwritten = None,
            Err(error) => {
                let words = format!("{error:#}");
                if self.unwritten.as_ref() != Some(&words) {
                    warn!("status does not know what is in force: it cannot be written down: {words}");
                }
                self.unwritten = Some(words);
            }
        }
        self.written = Some(state);
    }
}

impl Pass {
    /// All is as the policy wants it.
    pub const fn is_complete(&self) -> bool {
        self.failed == 0 && !self.busy && self.wall_failed.is_none() && self.seatbelt_failed.is_none()
    }

    /// Why nothing at all is in place, if the policy wants something and none of it can be had.
    pub fn nothing(&self, policy: &Policy) -> Option<String> {
        let layers = policy.layers;
        let reasons: Vec<&str> =
            [&self.wall_failed, &self.seatbelt_failed].into_iter().flatten().map(String::as_str).collect();
        let wanted = usize::from(layers.wall) + usize::from(layers.seatbelt);
        (wanted > 0 && reasons.len() == wanted).then(|| reasons.join("; "))
    }
}

/// Interfaces that need a program, whatever their class.
fn wants_program(placements: &Placements) -> BTreeSet<u32> {
    let attach = |placement: &Placement| matches!(placement, Placement::Attach(..));
    placements.by_index.iter().filter(|(_, placement)| attach(placement)).map(|(index, _)| *index).collect()
}

/// Tells whether these are the interfaces that were dealt with. What does not matter to it, such as our own programs, is
/// left out.
pub fn fingerprint(links: &Links) -> u64 {
    let mut hasher = DefaultHasher::new();
    for link in links.iter() {
        (link.index, link.name.as_str(), link.up, link.master, link.lower).hash(&mut hasher);
    }
    hasher.finish()
}

/// What stays open, said once.
fn spared(policy: &Policy, ways_in: &[Listener], before: &[Spared]) -> Vec<Spared> {
    let spared = lockout::judge(policy, ways_in);
    for one in spared.iter().filter(|one| !before.contains(one)) {
        warn!("{one}; {}", lockout::INSIST);
    }
    spared
}

/// What an earlier run wrote down.
fn earlier(paths: &Paths) -> Option<State> {
    let file = record::read(&paths.run).ok().flatten();
    let pinned =
        || Wall::open(PinDirectory::at(&paths.bpf)).and_then(|wall| wall.map_or(Ok(None), |wall| wall.state()));
    file.or_else(|| {
        pinned().unwrap_or_else(|error| {
            warn!("what an earlier run wrote down is lost, its service counters may be renamed: {error}");
            None
        })
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
