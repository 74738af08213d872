//! One pass over the seatbelt: the table as the plan has it, whatever happened to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use super::Host;
use crate::policy::Policy;
use crate::seatbelt::ruleset::{Derived, Hook, Ruleset, Surroundings, lower};
use crate::seatbelt::{Repair, Seatbelt, SeatbeltError, TABLE};

/// The table's keeper and what it last put there.
#[derive(Default)]
pub(super) struct Keeper {
    seatbelt: Option<Seatbelt>,
    applied: Option<Ruleset>,
    /// What the table was last planned for, and the plan. A long allow-list takes its time.
    planned: Option<(Surroundings, Ruleset)>,
    /// The last failure said, so that it is said once.
    told: Option<String>,
    /// It was said that nobody else may change the table.
    told_owned: bool,
}

/// What a pass over the seatbelt found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The table was written.
    pub(super) changed: bool,
    /// Because somebody had changed it.
    pub(super) repaired: bool,
    /// Why the table is not as it should be.
    pub(super) failed: Option<String>,
    /// Another program undoes our repairs: the next is due after this time.
    pub(super) retry: Option<Duration>,
}

/// The table for a policy on this host.
pub fn ruleset(policy: &Policy, host: &Host<'_>) -> Ruleset {
    lower(policy, &surroundings(host))
}

fn surroundings(host: &Host<'_>) -> Surroundings {
    let derived = host.guarded().map(|port| Derived {
        protocol: port.protocol,
        port: port.port,
        addresses: port.addresses.clone(),
        expected: port.expected,
        service: port.service.clone(),
    });
    let bridges_translate = Path::new("/proc/sys/net/bridge").exists();
    Surroundings {
        derived: derived.collect(),
        bridges_translate,
        judged: host.judged.clone(),
        ..Surroundings::of(host.placements, host.links)
    }
}

impl Keeper {
    /// Repairs of what others did since the start.
    pub(super) fn repairs(&self) -> u64 {
        self.seatbelt.as_ref().map_or(0, Seatbelt::repairs)
    }

    /// Netlink port of our own changes, once there were any.
    pub(super) fn port(&self) -> Option<u32> {
        self.seatbelt.as_ref().map(Seatbelt::port)
    }

    /// The policy changed: plans anew.
    pub(super) fn forget(&mut self) {
        self.planned = None;
    }

    /// Plans the table; is it to be another one than before?
    pub(super) fn plan(&mut self, policy: &Policy, host: &Host<'_>) -> bool {
        let surroundings = surroundings(host);
        let (_, wanted) = match self.planned.take() {
            Some(planned) if planned.0 == surroundings => self.planned.insert(planned),
            _ => {
                let wanted = lower(policy, &surroundings);
                self.planned.insert((surroundings, wanted))
            }
        };
        self.applied.as_ref() != Some(wanted)
    }

    /// A table of ours was put in place, and not taken away since.
    pub(super) const fn stands(&self) -> bool {
        self.applied.is_some()
    }

    /// Makes the table what was planned, `alone` if it is all that stands. A failure is told and leaves the rest of the guard
    /// at work.
    pub(super) fn pass(&mut self, alone: bool) -> Outcome {
        let Some((_, wanted)) = &self.planned else { return Outcome::default() };
        match Self::try_pass(&mut self.seatbelt, &mut self.applied, wanted, alone) {
            Ok(outcome) => {
                if self.told.take().is_some() {
                    info!("the table inet {TABLE} is in place again");
                }
                let owned = self.seatbelt.as_ref().is_some_and(Seatbelt::is_protected);
                if owned && !std::mem::replace(&mut self.told_owned, owned) {
                    info!(
                        "the table inet {TABLE} alone closes the port, so nobody else can change it while this daemon runs; \
                         to load a saved ruleset, leave the table out: sed '/^table inet {TABLE} {{/,/^}}/d' FILE | nft -f -"
                    );
                }
                self.told_owned = owned;
                outcome
            }
            Err(error) => {
                let words = error.to_string();
                if self.told.as_ref() != Some(&words) {
                    warn!("the nftables layer is NOT in place: {words}");
                }
                self.told = Some(words.clone());
                Outcome { failed: Some(words), ..Outcome::default() }
            }
        }
    }

    fn try_pass(
        seatbelt: &mut Option<Seatbelt>,
        applied: &mut Option<Ruleset>,
        wanted: &Ruleset,
        alone: bool,
    ) -> Result<Outcome, SeatbeltError> {
        let seatbelt = match seatbelt {
            Some(seatbelt) => seatbelt,
            none => none.insert(Seatbelt::open(TABLE)?),
        };
        let replaced = seatbelt.protect(alone)?;
        if applied.as_ref() != Some(wanted) {
            seatbelt.apply(wanted)?;
            *applied = Some(wanted.clone());
            return Ok(Outcome { changed: true, ..Outcome::default() });
        }
        Ok(match seatbelt.repair()? {
            Repair::Intact => Outcome { changed: replaced, ..Outcome::default() },
            Repair::Repaired(differences) => {
                warn!(
                    "the table inet {TABLE} was changed by another program and is repaired: {}",
                    differences.join("; ")
                );
                Outcome { changed: true, repaired: true, ..Outcome::default() }
            }
            Repair::Deferred(differences, retry) => {
                let differences = differences.join("; ");
                warn!("another program keeps undoing the table inet {TABLE} ({differences}); next repair in {retry:?}");
                let failed = Some("another program keeps undoing it".to_owned());
                Outcome { failed, retry: Some(retry), ..Outcome::default() }
            }
        })
    }

    /// Packets dropped before routing up to now, by interface; none if that cannot be read.
    pub(super) fn caught(&mut self) -> BTreeMap<String, u64> {
        let dropped = self.seatbelt.as_mut().and_then(|seatbelt| seatbelt.dropped_on(Hook::Prerouting).ok());
        dropped.into_iter().flatten().map(|(interface, count)| (interface, count.packets)).collect()
    }

    /// Takes the table away.
    pub(super) fn remove(&mut self) -> Result<(), SeatbeltError> {
        self.applied = None;
        match self.seatbelt.take() {
            Some(mut seatbelt) => seatbelt.remove(),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("applied", &self.applied).finish_non_exhaustive()
    }
}
