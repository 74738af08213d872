//! The steps of a pass: what comes is written down, then the eBPF layer, then what is.

use std::mem::take;
use std::time::Duration;

use tracing::{info, warn};

use super::{Host, Pass, Reconciler, fingerprint, record, wall};
use crate::datapath::{Coming, DatapathError, State, Wall};
use crate::plan::class::Placements;

impl Reconciler {
    /// Writes down what comes, before it does: meanwhile the old or the new is in force.
    pub(super) fn announce(&mut self, host: &Host<'_>) {
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
    pub(super) fn pass_ebpf(&mut self, host: &Host<'_>, belt_failed: bool, pass: &mut Pass) -> wall::Outcome {
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
                Some(Err(error)) => self.ebpf.fails(&self.policy, error),
                None => {}
            }
        }
        pass.wall_failed = self.ebpf.failure().filter(|_| wanted).cloned();
        pass.attached = outcome.attached;
        pass.failed = outcome.failed.len();
        pass.busy = outcome.busy;
        if outcome.more {
            pass.retry = Some(Duration::ZERO);
        }
        pass.changed += outcome.changed;
        for (index, words) in &outcome.words {
            if self.told.get(index) != Some(words) {
                if outcome.failed.contains(index) { warn!("{words}") } else { info!("{words}") }
            }
        }
        self.told = take(&mut outcome.words);
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

    fn try_ebpf(&mut self, host: &Host<'_>) -> Option<Result<wall::Outcome, DatapathError>> {
        let nowhere = Placements::default();
        let host = if self.policy.layers.wall { *host } else { Host { placements: &nowhere, ..*host } };
        let wall = self.ebpf.wall.as_mut()?;
        Some(wall::reconcile(wall, &self.policy, &self.services, &host, &mut self.memory, &mut self.lowered))
    }

    pub(super) fn write_down(&mut self, host: &Host<'_>, enforced: wall::Outcome) {
        let failure = self.ebpf.failure().filter(|_| self.policy.layers.wall).cloned();
        let programs = if failure.is_some() {
            wall::keys(&self.policy, &self.services, host, &mut self.lowered)
        } else {
            enforced.programs.iter().map(|key| key.as_str().to_owned()).collect()
        };
        let unknown = self.proxies.unknown();
        let untracked_since = self.untracked.since(self.ebpf.wall.as_ref());
        self.write(State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            policy: self.policy.without_long_list(),
            findings: self.findings.clone(),
            allow_elided: self.policy.has_long_list(),
            services: self.services.clone(),
            programs,
            hook_reasons: enforced.reasons,
            derived: host.derived.to_vec(),
            judged: host.judged.clone(),
            untracked_since,
            caught_before: self.caught_before.clone(),
            repairs: self.repairs_before + self.seatbelt.repairs(),
            hook_repairs: self.hook_repairs,
            last_repair: self.last_repair.clone(),
            reload_failure: self.reload_failure.clone(),
            forgotten: self.forgotten_before + self.ebpf.wall.as_ref().map_or(0, Wall::forgotten),
            coming: None,
            wall_failure: failure,
            seen: fingerprint(host.links),
            unknown,
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
