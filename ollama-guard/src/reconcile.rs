//! Desired against actual: one pass makes the kernel hold what the plan says. It reads everything each time, so that
//! whatever woke it, and whatever it missed, the outcome is the same.

mod lock;
mod seatbelt;
mod wall;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
pub use lock::{Holder, InstanceLock, LockError};
pub use seatbelt::ruleset;
use tracing::{info, warn};

use crate::datapath::{PinDirectory, State, Wall};
use crate::derived::{DerivedPort, Gone, Lookout};
use crate::flows::{Ground, Sweeper};
use crate::links::Links;
use crate::plan::class::{Placement, Placements};
use crate::plan::services::ServiceTable;
use crate::policy::Policy;

/// Owns every change to the kernel.
#[derive(Debug)]
pub struct Reconciler {
    policy: Policy,
    services: ServiceTable,
    since: u64,
    /// What the seatbelt had caught when the wall last changed.
    caught_before: BTreeMap<String, u64>,
    /// Repairs of the table by earlier runs.
    repairs_before: u64,
    /// Sources removed by earlier runs.
    forgotten_before: u64,
    /// `None` where there is no BPF and the configuration asks for none.
    wall: Option<Wall>,
    seatbelt: seatbelt::Keeper,
    refusals: wall::Refusals,
    lowered: wall::Lowered,
    proxies: Lookout,
    /// Ends connections from before.
    flows: Sweeper,
    /// What was last said of each interface, so that it is said once.
    told: BTreeMap<u32, String>,
    /// The state last written down.
    written: Option<State>,
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
    /// The nftables layer is wanted and not in place.
    pub seatbelt_failed: bool,
    /// There is more to do, or somebody undoes what is done; try again after this time.
    pub retry: Option<Duration>,
}

impl Reconciler {
    /// Takes over what an earlier daemon left. Changes nothing before the first [`Self::pass`].
    pub async fn new(policy: Policy) -> anyhow::Result<Self> {
        let pins = PinDirectory::at(&policy.paths.bpf);
        // Without the eBPF layer it still holds what `status` reads; but those who switch that off may have no BPF.
        let wall = match Wall::create(pins, policy.sources.tracked) {
            Err(error) if !policy.layers.wall => {
                warn!("status will know nothing of what this daemon does: {error}");
                None
            }
            wall => Some(wall?),
        };
        let earlier = wall.as_ref().map(Wall::state).transpose().unwrap_or_else(|error| {
            warn!("what an earlier run wrote down is lost, its service counters may be renamed: {error}");
            None
        });
        let earlier = earlier.flatten();
        let (services, _) = earlier.as_ref().map(|state| state.services.clone()).unwrap_or_default().update(&policy);
        let guarded: &[DerivedPort] = earlier.as_ref().map_or(&[], |state| &state.derived);
        let mut proxies = Lookout::start(&policy.services, guarded).context("cannot start a thread")?;
        proxies.looked().await?;
        let caught_before = earlier.as_ref().map(|state| state.caught_before.clone()).unwrap_or_default();
        let (since, repairs_before, forgotten_before) =
            earlier.map_or_else(|| (now(), 0, 0), |state| (state.since, state.repairs, state.forgotten));
        let (seatbelt, refusals, lowered) = Default::default();
        Ok(Self {
            policy,
            services,
            since,
            caught_before,
            repairs_before,
            forgotten_before,
            wall,
            seatbelt,
            refusals,
            lowered,
            proxies,
            flows: Sweeper::default(),
            told: BTreeMap::new(),
            written: None,
        })
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
    pub async fn set_policy(&mut self, policy: Policy) -> anyhow::Result<()> {
        if policy != self.policy {
            self.seatbelt.forget();
            self.flows.policy_changed();
            self.lowered = wall::Lowered::default();
        }
        let pins = PinDirectory::at(&policy.paths.bpf);
        if self.wall.is_none() && policy.layers.wall {
            self.wall = Some(Wall::create(pins, policy.sources.tracked)?);
        }
        if !policy.layers.seatbelt {
            self.seatbelt.remove()?;
        }
        let (services, recycled) = self.services.update(&policy);
        if let Some(wall) = &self.wall {
            wall.clear_services(&recycled)?;
        }
        if policy.services != self.policy.services {
            self.proxies.look_for(&policy.services);
            self.proxies.looked().await?;
        }
        self.forgive();
        (self.policy, self.services) = (policy, services);
        Ok(())
    }

    /// Hooks that refused an interface are tried again at the next pass.
    pub fn forgive(&mut self) {
        self.refusals.clear();
    }

    /// Makes the kernel hold what policy and interfaces call for.
    pub fn pass(&mut self) -> anyhow::Result<Pass> {
        let links = Links::read().context("cannot list the network interfaces")?;
        let placements = Placements::new(&self.policy, &links);
        let derived = self.proxies.ports();
        self.proxies.look();
        let host = Host { links: &links, placements: &placements, derived: &derived };
        // The seatbelt first: it covers every interface at once, by name.
        let belt = if self.policy.layers.seatbelt {
            self.seatbelt.pass(&self.policy, &host)
        } else {
            seatbelt::Outcome::default()
        };
        let mut pass = Pass { seatbelt_failed: belt.failed, retry: belt.retry, ..Pass::default() };
        pass.changed += usize::from(belt.changed);
        if let Some(mut wall) = self.wall.take() {
            let nowhere = Placements::default();
            let host = if self.policy.layers.wall { host } else { Host { placements: &nowhere, ..host } };
            let result = self.pass_wall(&mut wall, &host, &mut pass);
            self.wall = Some(wall);
            result?;
        }
        // Last: what the policy refuses comes in no more.
        let ground = Ground::new(&links, &placements);
        self.flows.passed(&self.policy, &self.services, ground, pass.is_complete());
        Ok(pass)
    }

    /// Netlink port of our own changes to nftables, which are no news.
    pub fn seatbelt_port(&self) -> Option<u32> {
        self.seatbelt.port()
    }

    /// There are pins to look after.
    pub fn pins(&self) -> bool {
        self.wall.is_some()
    }

    /// Waits until there are other derived ports. Cancel safe.
    pub async fn proxies_changed(&mut self) -> Result<(), Gone> {
        self.proxies.changed().await
    }

    fn pass_wall(&mut self, wall: &mut Wall, host: &Host<'_>, pass: &mut Pass) -> anyhow::Result<()> {
        let outcome = wall::reconcile(wall, &self.policy, &self.services, host, &mut self.refusals, &mut self.lowered)?;
        for (index, words) in &outcome.words {
            if self.told.get(index) != Some(words) {
                if outcome.failed.contains(index) { warn!("{words}") } else { info!("{words}") }
            }
        }
        self.told = outcome.words;
        if outcome.changed > 0 {
            self.caught_before = self.seatbelt.caught();
        } else if pass.changed > 0 {
            // The table was written. If somebody had deleted it, it counts from zero again.
            let now = self.seatbelt.caught();
            let count = |interface: &String| now.get(interface).copied().unwrap_or_default();
            self.caught_before.iter_mut().for_each(|(interface, before)| *before = count(interface).min(*before));
        }
        let state = State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            policy: self.policy.without_long_list(),
            allow_elided: self.policy.has_long_list(),
            services: self.services.clone(),
            programs: outcome.programs.iter().map(|key| key.as_str().to_owned()).collect(),
            hook_reasons: outcome.reasons,
            derived: host.derived.to_vec(),
            caught_before: self.caught_before.clone(),
            repairs: self.repairs_before + self.seatbelt.repairs(),
            forgotten: self.forgotten_before + wall.forgotten(),
        };
        if self.written.as_ref() != Some(&state) {
            wall.set_state(&state)?;
            self.written = Some(state);
        }
        wall.retain_programs(self.lowered.programs())?;
        pass.attached = outcome.attached;
        pass.failed = outcome.failed.len();
        pass.busy = outcome.busy;
        pass.changed += outcome.changed;
        if pass.failed == 0 && wall.retire_others()? {
            info!("what another version of ollama-guard had attached is gone: this one has taken over");
            pass.retry = Some(Duration::ZERO);
        }
        Ok(())
    }
}

impl Pass {
    /// All is as the policy wants it.
    pub const fn is_complete(&self) -> bool {
        self.failed == 0 && !self.busy && !self.seatbelt_failed
    }
}

/// Interfaces that need a program, whatever their class.
fn wants_program(placements: &Placements) -> BTreeSet<u32> {
    let attach = |placement: &Placement| matches!(placement, Placement::Attach(..));
    placements.by_index.iter().filter(|(_, placement)| attach(placement)).map(|(index, _)| *index).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
