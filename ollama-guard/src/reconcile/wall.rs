//! One pass over the wall: attach where the plan says, release where it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tracing::debug;

use super::pass::{Host, wants_program};
use super::yields::{Place, Yields};
use crate::class::Class;
use crate::datapath::{Attachment, DatapathError, Family, Point, ProgramKey, Receives, Standing, Target, Wall};
use crate::derived::DerivedPort;
use crate::links::{Hardware, Kind, Link, Links, XdpMode};
use crate::plan::class::{Note, Placement, Placements};
use crate::plan::hook::{Choice, Hook, HookReason};
use crate::plan::rules::{GuardedPort, KernelRules, ProxiedPort};
use crate::plan::services::ServiceTable;
use crate::policy::{InterfaceName, Policy};

/// What one pass leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Hooks that refused an interface, by its index, and why: not tried again on every pass, because a driver may interrupt
    /// its traffic for each try.
    refusals: BTreeMap<u32, Vec<(Hook, String)>>,
    yields: Yields,
    /// Interfaces that had their program, by index and name: whose is gone, somebody removed.
    stood: BTreeMap<u32, InterfaceName>,
}

impl Memory {
    /// Tries everything again.
    pub(super) fn forgive(&mut self) {
        self.refusals.clear();
    }

    /// Had this interface its program before?
    fn stood(&self, link: &Link) -> bool {
        self.stood.get(&link.index) == Some(&link.name)
    }

    /// The kernel has no TCX: it was refused somewhere, and that is the one reason.
    fn lacks_tcx(&self) -> bool {
        self.refusals.values().flatten().any(|(hook, _)| *hook == Hook::Tcx)
    }

    fn forget_all_but(&mut self, links: &Links) {
        self.refusals.retain(|index, _| links.get(*index).is_some());
        self.yields.forget_all_but(links);
        self.stood.retain(|index, name| links.get(*index).is_some_and(|link| link.name == *name));
    }
}

/// The rules of interfaces, by class, where an `[[allow]]` names it by interface, and by whether ipvlan shares its frames. Lowering a long allow-list takes as
/// long as many passes that find nothing to do.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    derived: BTreeSet<ProxiedPort>,
    rules: BTreeMap<(Class, Option<InterfaceName>, bool), Rc<KernelRules>>,
    /// The programs that were made of them.
    programs: BTreeSet<ProgramKey>,
}

impl Lowered {
    /// The same ports as before, or everything anew.
    fn refresh(&mut self, derived: BTreeSet<ProxiedPort>) {
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
        shared: bool,
    ) -> Rc<KernelRules> {
        let is_named = policy.allow.iter().any(|allow| allow.interface.as_ref() == Some(interface));
        let place = (class, is_named.then(|| interface.clone()), shared);
        let lower = || {
            let rules = KernelRules::lower(policy, services, &self.derived, class, interface);
            Rc::new(if shared { rules.shared() } else { rules })
        };
        Rc::clone(self.rules.entry(place).or_insert_with(lower))
    }
}

/// The programs that the interfaces' rules can become, whatever their hooks.
pub(super) fn keys(
    policy: &Policy,
    services: &ServiceTable,
    host: &Host<'_>,
    lowered: &mut Lowered,
) -> BTreeSet<String> {
    lowered.refresh(proxied_ports(host, services));
    for link in host.links.iter() {
        if let Some(Placement::Attach(class, _) | Placement::Member { class, .. }) = host.placements.get(link.index) {
            lowered.of(policy, services, *class, &link.name, host.links.has_ipvlan(link));
        }
    }
    let families = [Family::Xdp, Family::Tc, Family::TcLayer3, Family::TcMember];
    let keys = lowered.rules.values().flat_map(|rules| families.map(|family| ProgramKey::new(rules, family)));
    keys.map(|key| key.as_str().to_owned()).collect()
}

/// Why an interface has a lesser hook for now.
const BUSY: &str = "a better hook is taken just now";
/// The same, and why it may have none.
const GIVES_WAY: &str = "another program removed its qdisc, whose place is left free for a minute";

/// Members that get a link in one pass. There are as many as containers, each takes some milliseconds, and very little
/// arrives there: the rest of the pass does not wait for all of them.
const MEMBERS_AT_ONCE: usize = 32;

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
    /// There are members left for the next pass.
    pub(super) more: bool,
    /// What somebody had removed and is back, in words.
    pub(super) repaired: Vec<String>,
    /// Interfaces with a program.
    pub(super) attached: usize,
    /// Changes made.
    pub(super) changed: usize,
}

impl Outcome {
    /// Bridges with a program.
    pub(super) fn bridges(&self, links: &Links) -> BTreeSet<InterfaceName> {
        let stands = |link: &&Link| link.kind == Kind::Bridge && self.reasons.contains_key(&link.index);
        links.iter().filter(stands).map(|link| link.name.clone()).collect()
    }
}

/// Makes the wall stand as planned. Fails only where no interface could succeed; what one interface refuses is in
/// the outcome, and the others go on.
pub(super) fn reconcile(
    wall: &mut Wall,
    policy: &Policy,
    services: &ServiceTable,
    host: &Host<'_>,
    memory: &mut Memory,
    lowered: &mut Lowered,
) -> Result<Outcome, DatapathError> {
    let Host { links, placements, .. } = host;
    lowered.refresh(proxied_ports(host, services));
    let mut outcome = Outcome::default();
    let unpinned = wall.pin_again()?;
    memory.forget_all_but(links);
    let wanted = wants_program(placements);
    memory.stood.retain(|index, _| wanted.contains(index));
    let repinned = unpinned.iter().filter_map(|index| memory.stood.get(index));
    outcome.repaired.extend(repinned.map(|name| format!("the pin of the program on {name}")));
    let stale: BTreeSet<u32> = wall.pinned_interfaces()?.difference(&wanted).copied().collect();
    wall.release(&stale)?;
    outcome.changed += stale.len();
    let mut noting = BTreeSet::new();
    let Standing { attachments, programs: ours, .. } = wall.standing()?;
    let is_member = |link: &&Link| matches!(placements.get(link.index), Some(Placement::Member { .. }));
    let mut new_members = 0;
    for link in links.iter().filter(|link| !is_member(link)).chain(links.iter().filter(is_member)) {
        if new_members == MEMBERS_AT_ONCE {
            outcome.more = true;
            break;
        }
        let Some(wish) = Wish::new(policy, links, placements, link, &|id| ours.contains(&id)) else { continue };
        let rules = lowered.of(policy, services, wish.class, &link.name, links.has_ipvlan(link));
        if wish.may_do_without(link) && memory.lacks_tcx() {
            continue;
        }
        let place = memory.yields.place(wall, link.index, &attachments)?;
        let gives_way = place == Place::LeftFree;
        let planned = match place {
            Place::Ours => wish.choice.candidates.clone(),
            Place::LeftFree => wish.choice.giving_way(!policy.layers.seatbelt),
            // The others too, should it go this moment.
            Place::Theirs => [wish.choice.candidates.clone(), wish.choice.giving_way(false)].concat(),
        };
        let refused = memory.refusals.entry(link.index).or_default();
        let hooks: Vec<Hook> = planned.into_iter().filter(|hook| !is_refused(refused, *hook)).collect();
        let target =
            Target { makes_no_qdisc: place == Place::Theirs, ..target(link, &wish, &rules, &hooks, &attachments) };
        match wall.enforce(&target) {
            Ok(mut enforced) => {
                refused.append(&mut enforced.refused);
                let why = match () {
                    () if enforced.busy => BUSY.to_owned(),
                    () if gives_way => GIVES_WAY.to_owned(),
                    () => reason(refused, &wish.choice),
                };
                if let Some(words) = wish.words(link, enforced.hook, &why) {
                    outcome.words.insert(link.index, words);
                    outcome.attached += 1;
                }
                outcome.reasons.insert(link.index, why);
                outcome.busy |= enforced.busy;
                outcome.changed += usize::from(enforced.changed);
                if enforced.changed && target.current.is_none() && memory.stood(link) {
                    outcome.repaired.push(format!("the program on {}", link.name));
                }
                memory.stood.insert(link.index, link.name.clone());
                // What leaves by a member has left by its master.
                if wish.class != Class::Trusted && wish.notes.is_some() {
                    let layer3 = matches!(link.hardware, Hardware::Other(_));
                    match wall.note_egress(link.index, layer3, &rules) {
                        Ok(key) => {
                            lowered.programs.insert(key);
                            noting.insert(link.index);
                        }
                        Err(error) => debug!("{}: connections from a guarded port hear no answer: {error}", link.name),
                    }
                }
                new_members += usize::from(wish.notes.is_none() && target.current.is_none());
                lowered.programs.insert(enforced.key.clone());
                outcome.programs.insert(enforced.key);
            }
            Err(error @ DatapathError::Attach { .. }) if wish.may_do_without(link) => {
                refused.push((Hook::Tcx, error.to_string()));
            }
            Err(error @ DatapathError::Attach { .. }) => {
                refused.clear(); // nothing is attached: try everything again
                let why = if gives_way { format!("{}: {GIVES_WAY}", link.name) } else { error.to_string() };
                outcome.words.insert(link.index, why);
                outcome.failed.insert(link.index);
            }
            Err(error) => return Err(error),
        }
    }
    wall.retain_egress(&noting)?;
    Ok(outcome)
}

/// What the plan wants of one interface.
struct Wish<'a> {
    class: Class,
    /// `None`: a member.
    notes: Option<&'a [Note]>,
    choice: Choice,
}

impl<'a> Wish<'a> {
    fn new(
        policy: &Policy,
        links: &Links,
        placements: &'a Placements,
        link: &Link,
        ours: &dyn Fn(u32) -> bool,
    ) -> Option<Self> {
        match placements.get(link.index)? {
            Placement::Attach(class, notes) => {
                let choice = Choice::new(&policy.attach, links, link, *class, ours);
                Some(Self { class: *class, notes: Some(notes), choice })
            }
            Placement::Member { master, class } => {
                let choice = Choice::member(&policy.attach, link, &links.get(*master)?.name);
                Some(Self { class: *class, notes: None, choice })
            }
            Placement::LeftToMaster(_) | Placement::Waiting(_) | Placement::NotCounted(_) => None,
        }
    }

    /// What to tell people; of members, of which there are many, nothing.
    fn words(&self, link: &Link, hook: Hook, why: &str) -> Option<String> {
        let mut words = format!("{}: {}, {hook} ({why})", link.name, self.class);
        for note in self.notes? {
            words = format!("{words}; it {note}");
        }
        Some(words)
    }

    /// A member on which there is no room for a qdisc of ours: [`Choice::member`].
    fn may_do_without(&self, link: &Link) -> bool {
        self.notes.is_none() && link.kind.is_shaped_by_its_maker()
    }
}

/// Before its container has started, a port may be anybody's, also by a translation, which is still to come here.
fn proxied_ports(host: &Host<'_>, services: &ServiceTable) -> BTreeSet<ProxiedPort> {
    host.guarded().filter(|port| !port.expected).map(|port| proxied(port, services)).collect()
}

fn proxied(port: &DerivedPort, services: &ServiceTable) -> ProxiedPort {
    ProxiedPort {
        port: GuardedPort { protocol: port.protocol, port: port.port, service: services.index(&port.service) },
        addresses: port.addresses.clone(),
    }
}

fn target<'a>(
    link: &'a Link,
    wish: &Wish<'_>,
    rules: &'a KernelRules,
    hooks: &'a [Hook],
    attachments: &'a [Attachment],
) -> Target<'a> {
    // A link's pin may be of another namespace's interface: the interface says what it runs.
    let runs = |attached: &Attachment| {
        attached.point != Point::Xdp || link.xdp.iter().any(|xdp| xdp.program_id == attached.program)
    };
    let is_here = |attached: &&Attachment| attached.interface == link.index && runs(attached);
    let current = attachments.iter().find(is_here);
    let native = |attached: &Attachment| {
        link.xdp.iter().any(|xdp| xdp.mode == XdpMode::Native && xdp.program_id == attached.program)
    };
    Target {
        interface: link.index,
        name: link.name.as_str(),
        receives: match link.hardware {
            _ if wish.notes.is_none() => Receives::LinkLocal,
            Hardware::Other(_) => Receives::Packets,
            Hardware::Ethernet | Hardware::Loopback => Receives::Frames,
        },
        current,
        native: current.is_some_and(native),
        makes_no_qdisc: false,
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
