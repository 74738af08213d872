//! Desired against actual: one pass makes the kernel hold what the plan says. It reads everything each time, so that
//! whatever woke it, and whatever it missed, the outcome is the same.
//!
//! Each layer goes up without the other. The nftables rules come first, then the programs, and only then does anything look
//! at what others can influence.

mod ebpf;
mod enforce;
mod lock;
mod pass;
mod proxies;
pub mod record;
mod seatbelt;
mod untracked;
mod wall;
mod yields;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
pub use lock::{Holder, InstanceLock, LockError};
pub use pass::{Host, Pass, fingerprint};
pub use seatbelt::ruleset;
use tracing::{info, warn};

use crate::clock;
use crate::config::lockout::{self, Listener, Spared};
use crate::datapath::{Event, State};
use crate::findings::{self, Finding};
use crate::flows::{Ground, Sweeper};
use crate::links::Links;
use crate::plan::class::Placements;
use crate::plan::services::ServiceTable;
use crate::policy::{InterfaceName, Policy};
use crate::seatbelt::TABLE;
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
    /// What is to be said of what is wanted. A long allow-list takes its time.
    findings: Vec<Finding>,
    services: ServiceTable,
    since: u64,
    untracked: untracked::Untracked,
    /// What the seatbelt had caught when the wall last changed.
    caught_before: BTreeMap<String, u64>,
    /// Repairs of the table by earlier runs.
    repairs_before: u64,
    /// Programs of interfaces, and their pins, that were put back, by earlier runs too.
    hook_repairs: u64,
    last_repair: Option<Event>,
    reload_failure: Option<Event>,
    /// Sources removed by earlier runs.
    forgotten_before: u64,
    ebpf: Ebpf,
    seatbelt: seatbelt::Keeper,
    /// Every interface has the program that it should have, as far as the last pass knows.
    wall_stands: bool,
    /// Bridges on which a program stands.
    judged: BTreeSet<InterfaceName>,
    memory: wall::Memory,
    lowered: wall::Lowered,
    proxies: Proxies,
    /// Ends connections from before.
    flows: Sweeper,
    /// What was last said of each interface, so that it is said once.
    told: BTreeMap<u32, String>,
    /// The state last written down; at first, by an earlier run.
    written: Option<State>,
    /// The last failure to write it down, said once.
    unwritten: Option<String>,
    /// The policy is another one than what was written down.
    is_new: bool,
}

impl Reconciler {
    /// Takes over what an earlier daemon wrote down. Changes nothing before the first [`Self::pass`], and waits for nobody.
    pub fn new(wanted: Policy) -> Self {
        let earlier = record::earlier(&wanted.paths);
        let ways_in = earlier.as_ref().map(|state| state.ways_in.clone()).unwrap_or_default();
        let spared = spared(&wanted, &ways_in, &[]);
        let policy = lockout::spare(wanted.clone(), &spared);
        let table = earlier.as_ref().map(|state| state.services.clone()).unwrap_or_default();
        let (services, _) = table.update(&policy);
        let (since, repairs_before, forgotten_before) = earlier
            .as_ref()
            .map_or_else(|| (now(), 0, 0), |state| (state.since.min(now()), state.repairs, state.forgotten));
        Self {
            findings: findings::of_policy(&wanted),
            wanted,
            policy,
            ways_in,
            spared,
            services,
            since,
            untracked: untracked::Untracked::new(earlier.as_ref().and_then(|state| state.untracked_since)),
            caught_before: earlier.as_ref().map(|state| state.caught_before.clone()).unwrap_or_default(),
            repairs_before,
            hook_repairs: earlier.as_ref().map_or(0, |state| state.hook_repairs),
            last_repair: earlier.as_ref().and_then(|state| state.last_repair.clone()),
            reload_failure: None,
            forgotten_before,
            ebpf: Ebpf::default(),
            seatbelt: seatbelt::Keeper::default(),
            wall_stands: false,
            judged: earlier.as_ref().map(|state| state.judged.clone()).unwrap_or_default(),
            memory: wall::Memory::default(),
            lowered: wall::Lowered::default(),
            proxies: Proxies::resume(earlier.as_ref().map(|state| state.derived.clone()).unwrap_or_default()),
            flows: Sweeper::default(),
            told: BTreeMap::new(),
            written: earlier,
            unwritten: None,
            is_new: true,
        }
    }

    /// The policy that was asked for.
    pub fn wanted(&self) -> &Policy {
        &self.wanted
    }

    /// The policy in force: the same without the ports that stay open.
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
        if let Some(key) = wanted.fixed_until_restart(&self.wanted) {
            bail!(
                "`{key}` takes a restart: set it back and reload; or, to change it, run `ollama-guard down` with the old \
                 file and start again with the new one"
            );
        }
        self.spared = spared(&wanted, &self.ways_in, &self.spared);
        self.change(lockout::spare(wanted.clone(), &self.spared))?;
        self.findings = findings::of_policy(&wanted);
        self.wanted = wanted;
        self.forgive();
        Ok(())
    }

    /// Notes how the last reload ended, for `status`.
    pub fn reloaded(&mut self, outcome: &Result<(), String>) {
        self.reload_failure = outcome.as_ref().err().map(|why| Event { at: now(), what: why.clone() });
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
            self.flows.policy_changed();
            self.lowered = wall::Lowered::default();
            self.is_new = true;
        }
        if policy.services != self.policy.services {
            self.proxies.look_for(&policy.services);
        }
        self.wall_stands &= policy.layers.wall;
        (self.policy, self.services) = (policy, services);
        Ok(())
    }

    /// What refused is tried again at the next pass.
    pub fn forgive(&mut self) {
        self.memory.forgive();
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
        let judged = self.judged.clone();
        let mut host = Host { links: &links, placements: &placements, derived: &derived, judged: &judged };
        self.announce(&host);
        // The seatbelt first: it covers every interface at once, by name.
        let mut belt = self.pass_nftables(&host);
        let mut pass = Pass {
            retry: belt.retry,
            changed: usize::from(belt.changed),
            unsettled: placements.unsettled,
            ..Pass::default()
        };
        let enforced = self.pass_ebpf(&host, belt.failed.is_some(), &mut pass);
        self.note_repairs(belt.repaired, &enforced.repaired);
        let now = enforced.bridges(&links);
        if now != judged {
            (self.judged, host.judged) = (now.clone(), &now);
            belt = self.pass_nftables(&host);
            pass.retry = pass.retry.or(belt.retry);
        }
        pass.seatbelt_failed = belt.failed;
        self.wall_stands = self.policy.layers.wall && pass.wall_failed.is_none() && pass.failed == 0;
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
        // What the policy refuses comes in no more.
        let ground = Ground::new(&links, &placements);
        self.flows.passed(&self.policy, &self.services, ground, pass.is_complete());
        Ok(pass)
    }

    fn note_repairs(&mut self, table: bool, hooks: &[String]) {
        for what in hooks {
            warn!("somebody removed {what}; it is back");
        }
        self.hook_repairs += hooks.len() as u64;
        let table = table.then(|| format!("the table inet {TABLE}"));
        if let Some(what) = hooks.last().cloned().or(table) {
            self.last_repair = Some(Event { at: now(), what });
        }
    }

    fn pass_nftables(&mut self, host: &Host<'_>) -> seatbelt::Outcome {
        if !self.policy.layers.seatbelt {
            return seatbelt::Outcome::default();
        }
        self.seatbelt.plan(&self.policy, host);
        self.seatbelt.pass(!self.wall_stands)
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
        let host = Host { links: &links, placements: &placements, derived: &derived, judged: &self.judged };
        self.seatbelt.plan(&self.policy, &host);
        self.seatbelt.pass(true);
    }
}

/// What stays open, said once.
fn spared(policy: &Policy, ways_in: &[Listener], before: &[Spared]) -> Vec<Spared> {
    let spared = lockout::judge(policy, ways_in);
    for one in spared.iter().filter(|one| !before.contains(one)) {
        warn!("{one}; {}", lockout::INSIST);
    }
    spared
}

fn now() -> u64 {
    clock::boot().as_secs()
}
