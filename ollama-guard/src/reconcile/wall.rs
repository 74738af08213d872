//! One pass over the wall: attach where the plan says, release where it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::{Host, wants_program};
use crate::datapath::{Attachment, DatapathError, Enforced, ProgramKey, Target, Wall};
use crate::derived::DerivedPort;
use crate::links::{Hardware, Link, XdpMode};
use crate::plan::class::Placement;
use crate::plan::hook::{Choice, HookReason};
use crate::plan::rules::{GuardedPort, KernelRules};
use crate::plan::services::ServiceTable;
use crate::policy::Policy;

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
) -> Result<Outcome, DatapathError> {
    let Host { links, placements, .. } = host;
    let derived: BTreeSet<_> = host.guarded().map(|port| guarded(port, services)).collect();
    let mut outcome = Outcome::default();
    let wanted = wants_program(placements);
    for index in wall.pinned_interfaces()?.difference(&wanted) {
        wall.release(*index)?;
        outcome.changed += 1;
    }
    let attachments = wall.attachments()?;
    let ours = wall.program_ids()?;
    for link in links.iter() {
        let Some(Placement::Attach(class, notes)) = placements.get(link.index) else { continue };
        let rules = KernelRules::lower(policy, services, &derived, *class, &link.name);
        let choice = Choice::new(&policy.attach, links, link, *class, &|id| ours.contains(&id));
        let target = target(link, &rules, &choice, &attachments);
        match wall.enforce(&target) {
            Ok(enforced) => {
                let why = reason(&enforced, &choice.why);
                let mut words = format!("{}: {class}, {} ({why})", link.name, enforced.hook);
                for note in notes {
                    words = format!("{words}; it {note}");
                }
                outcome.words.insert(link.index, words);
                outcome.reasons.insert(link.index, why);
                outcome.attached += 1;
                outcome.changed += usize::from(enforced.changed);
                outcome.programs.insert(enforced.key);
            }
            Err(error @ DatapathError::Attach { .. }) => {
                outcome.words.insert(link.index, error.to_string());
                outcome.failed.insert(link.index);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

fn guarded(port: &DerivedPort, services: &ServiceTable) -> GuardedPort {
    GuardedPort { protocol: port.protocol, port: port.port, service: services.index(&port.service) }
}

fn target<'a>(link: &'a Link, rules: &'a KernelRules, choice: &'a Choice, attachments: &'a [Attachment]) -> Target<'a> {
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
        hooks: &choice.candidates,
    }
}

/// The planned reason, unless a better hook refused.
fn reason(enforced: &Enforced, planned: &HookReason) -> String {
    match enforced.refused.first() {
        Some((hook, why)) if hook.is_tc() => format!("{hook} refused: {why}"),
        Some((_, why)) => HookReason::DriverRefused(why.clone()).to_string(),
        None => planned.to_string(),
    }
}
