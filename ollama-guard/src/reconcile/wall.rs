//! One pass over the wall: attach where the plan says, release where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tracing::debug;

use super::{Host, wants_program};
use crate::class::Class;
use crate::datapath::{Attachment, DatapathError, ProgramKey, Standing, Target, Wall};
use crate::derived::DerivedPort;
use crate::links::{Hardware, Link, XdpMode};
use crate::plan::class::Placement;
use crate::plan::hook::{Choice, Hook, HookReason};
use crate::plan::rules::{GuardedPort, KernelRules};
use crate::plan::services::ServiceTable;
use crate::policy::{InterfaceName, Policy};

/// Hooks that refused an interface, by its index, and why: not tried again on every pass, because a driver may interrupt
/// its traffic for each try.
pub(super) type Refusals = BTreeMap<u32, Vec<(Hook, String)>>;

/// The rules of interfaces, by class and, where an `[[allow]]` names it, interface. Lowering a long allow-list takes as
/// long as many passes that find nothing to do.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    derived: BTreeSet<GuardedPort>,
    rules: BTreeMap<(Class, Option<InterfaceName>), Rc<KernelRules>>,
    /// The programs that were made of them.
    programs: BTreeSet<ProgramKey>,
}

impl Lowered {
    /// The same ports as before, or everything anew.
    fn refresh(&mut self, derived: BTreeSet<GuardedPort>) {
        if self.derived != derived {
            *self = Self { derived, ..Self::default() };
        }
    }

    /// Programs of the rules in force. They stay loaded when their last interface goes: the next one comes when it
    /// likes, and a program takes the verifier a tenth of a second.
    pub(super) fn programs(&self) -> &BTreeSet<ProgramKey> {
        &self.programs
    }

    fn of(
        &mut self,
        policy: &Policy,
        services: &ServiceTable,
        class: Class,
        interface: &InterfaceName,
    ) -> Rc<KernelRules> {
        let is_named = policy.allow.iter().any(|allow| allow.interface.as_ref() == Some(interface));
        let place = (class, is_named.then(|| interface.clone()));
        let lower = || Rc::new(KernelRules::lower(policy, services, &self.derived, class, interface));
        Rc::clone(self.rules.entry(place).or_insert_with(lower))
    }
}

/// Why an interface has a lesser hook for now.
const BUSY: &str = "a better hook is taken just now";

/// What a pass over the wall did.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Programs in use.
    pub(super) programs: BTreeSet<ProgramKey>,
    /// Why each interface has its hook.
    pub(super) reasons: BTreeMap<u32, String>,
    /// What to tell people of each interface.
    pub(super) words: BTreeMap<u32, String>,
    /// Interfaces that should have a program and have none.
    pub(super) failed: BTreeSet<u32>,
    /// Some have a lesser hook, because a better one is taken just now.
    pub(super) busy: bool,
    /// Interfaces with a program.
    pub(super) attached: usize,
    /// Changes made.
    pub(super) changed: usize,
}

/// Makes the wall stand as planned. Fails only where no interface could succeed; what one interface refuses is in
/// the outcome, and the others go on.
pub(super) fn reconcile(
    wall: &mut Wall,
    policy: &Policy,
    services: &ServiceTable,
    host: &Host<'_>,
    refusals: &mut Refusals,
    lowered: &mut Lowered,
) -> Result<Outcome, DatapathError> {
    let Host { links, placements, .. } = host;
    lowered.refresh(host.guarded().map(|port| guarded(port, services)).collect());
    let mut outcome = Outcome::default();
    wall.pin_again()?;
    refusals.retain(|index, _| links.get(*index).is_some());
    let wanted = wants_program(placements);
    let stale: BTreeSet<u32> = wall.pinned_interfaces()?.difference(&wanted).copied().collect();
    wall.release(&stale)?;
    outcome.changed += stale.len();
    let mut noting = BTreeSet::new();
    let Standing { attachments, programs: ours } = wall.standing()?;
    for link in links.iter() {
        let Some(Placement::Attach(class, notes)) = placements.get(link.index) else { continue };
        let rules = lowered.of(policy, services, *class, &link.name);
        let choice = Choice::new(&policy.attach, links, link, *class, &|id| ours.contains(&id));
        let refused = refusals.entry(link.index).or_default();
        let hooks: Vec<Hook> = choice.candidates.iter().copied().filter(|hook| !is_refused(refused, *hook)).collect();
        let target = target(link, &rules, &hooks, &attachments);
        match wall.enforce(&target) {
            Ok(mut enforced) => {
                refused.append(&mut enforced.refused);
                let why = if enforced.busy { BUSY.to_owned() } else { reason(refused, &choice) };
                let mut words = format!("{}: {class}, {} ({why})", link.name, enforced.hook);
                for note in notes {
                    words = format!("{words}; it {note}");
                }
                outcome.words.insert(link.index, words);
                outcome.reasons.insert(link.index, why);
                outcome.busy |= enforced.busy;
                outcome.attached += 1;
                outcome.changed += usize::from(enforced.changed);
                if *class != Class::Trusted {
                    let layer3 = target.layer3;
                    match wall.note_egress(link.index, layer3, &rules) {
                        Ok(key) => {
                            lowered.programs.insert(key);
                            noting.insert(link.index);
                        }
                        Err(error) => debug!("{}: connections from a guarded port hear no answer: {error}", link.name),
                    }
                }
                lowered.programs.insert(enforced.key.clone());
                outcome.programs.insert(enforced.key);
            }
            Err(error @ DatapathError::Attach { .. }) => {
                refused.clear(); // nothing is attached: try everything again
                outcome.words.insert(link.index, error.to_string());
                outcome.failed.insert(link.index);
            }
            Err(error) => return Err(error),
        }
    }
    wall.retain_egress(&noting)?;
    Ok(outcome)
}

fn guarded(port: &DerivedPort, services: &ServiceTable) -> GuardedPort {
    GuardedPort { protocol: port.protocol, port: port.port, service: services.index(&port.service) }
}

fn target<'a>(link: &'a Link, rules: &'a KernelRules, hooks: &'a [Hook], attachments: &'a [Attachment]) -> Target<'a> {
    let current = attachments.iter().find(|attachment| attachment.interface == link.index);
    let native = |attached: &Attachment| {
        link.xdp.iter().any(|xdp| xdp.mode == XdpMode::Native && xdp.program_id == attached.program)
    };
    Target {
        interface: link.index,
        name: link.name.as_str(),
        layer3: matches!(link.hardware, Hardware::Other(_)),
        current,
        native: current.is_some_and(native),
        rules,
        hooks,
    }
}

fn is_refused(refused: &[(Hook, String)], hook: Hook) -> bool {
    refused.iter().any(|(refused, _)| *refused == hook)
}

/// The planned reason, unless the hook it is for refused.
fn reason(refused: &[(Hook, String)], choice: &Choice) -> String {
    match refused.iter().find(|(hook, _)| choice.candidates.first() == Some(hook)) {
        Some((hook, why)) if hook.is_tc() => format!("{hook} refused: {why}"),
        Some((_, why)) => HookReason::DriverRefused(why.clone()).to_string(),
        None => choice.why.to_string(),
    }
}
