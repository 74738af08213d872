//! The chains: the policy's sentences, in the order in which a packet is asked them.

use std::collections::BTreeSet;

use super::allows::Allows;
use super::lower::Surroundings;
use super::{AddressType, Chain, CounterName, Device, Family, Hook, Look, Match, Place, Refused, Rule, Verdict, Why};
use crate::policy::{ContainerAccess, Forwarded, Mode, Policy, Protocol};

/// Names of sets and chains.
pub(super) mod names {
    use super::super::{Family, Hook, Place};
    use crate::policy::ServiceName;

    pub(crate) const PORTS: &str = "guarded_ports";
    /// Numbers of proxied ports, which are in [`PORTS`] too.
    pub(crate) const PROXIED: &str = "proxied_ports";
    /// Of these, those whose container has yet to start.
    pub(crate) const EXPECTED: &str = "expected_ports";
    pub(crate) const TRUSTED: &str = "trusted";
    pub(crate) const CONTAINERS: &str = "containers";
    pub(crate) const NOT_CONTAINERS: &str = "not_containers";
    pub(crate) const WITH_CONTAINERS: &str = "with_containers";
    /// Bridges whose eBPF program has the first word.
    pub(crate) const JUDGED: &str = "judged_bridges";
    pub(crate) const BRIDGES: &str = "bridges";
    pub(crate) const VRF_DEVICES: &str = "vrf_devices";
    pub(crate) const INSIDE_BRIDGES: &str = "inside_bridges";
    pub(crate) const OWN_ADDRESSES: &str = "own_addresses";

    pub(crate) fn service(service: &ServiceName) -> String {
        format!("ports_{service}")
    }

    /// Proxied ports guarded for every address of this host.
    pub(crate) fn proxied_everywhere(family: Family) -> &'static str {
        match family {
            Family::V4 => "proxied_all_v4",
            Family::V6 => "proxied_all_v6",
        }
    }

    /// Proxied ports guarded for single addresses.
    pub(crate) fn proxied_at(family: Family) -> &'static str {
        match family {
            Family::V4 => "proxied_v4",
            Family::V6 => "proxied_v6",
        }
    }

    pub(crate) fn allow(index: usize, family: Family) -> String {
        match family {
            Family::V4 => format!("allow_{index}_v4"),
            Family::V6 => format!("allow_{index}_v6"),
        }
    }

    pub(crate) const NOTE: &str = "note";

    pub(crate) fn began(family: Family) -> String {
        match family {
            Family::V4 => "began_v4".to_owned(),
            Family::V6 => "began_v6".to_owned(),
        }
    }

    pub(crate) fn counted(hook: Hook, observed: bool) -> String {
        format!("{}_{}_on", hook.as_str(), if observed { "would_drop" } else { "dropped" })
    }

    pub(crate) fn refuse(hook: Hook, vrf: bool) -> String {
        format!("{}_refuse{}", hook.as_str(), if vrf { "_vrf" } else { "" })
    }

    pub(crate) fn vrf(place: Place) -> String {
        format!("{}_vrf", place.chain())
    }
}

const POSTROUTING: Place = Place { hook: Hook::Forward, look: Look::Last };

/// A container on this host is no other machine, whatever port was published for it.
const THIS_HOSTS_CONTAINERS: &str = "this host's containers";

/// All chains of a policy.
pub(super) fn of(policy: &Policy, allows: &Allows, surroundings: &Surroundings) -> Vec<Chain> {
    let mut chains = notes();
    for place in Place::ALL {
        let judge = Judge { policy, allows, surroundings, place, device: Device::Ingress };
        let member = Judge { device: Device::Member, ..judge };
        let Place { hook, look } = place;
        chains.push(Chain { name: place.chain().into(), hook: Some(place), rules: judge.base() });
        if look == Look::First {
            chains.push(Chain { name: names::refuse(hook, false), hook: None, rules: judge.refuse() });
        }
        if judge.knows_members() {
            chains.push(Chain { name: names::vrf(place), hook: None, rules: member.vrf() });
            if look == Look::First {
                chains.push(Chain { name: names::refuse(hook, true), hook: None, rules: member.refuse() });
            }
        }
    }
    chains
}

#[derive(Clone, Copy)]
struct Judge<'a> {
    policy: &'a Policy,
    allows: &'a Allows,
    surroundings: &'a Surroundings,
    place: Place,
    device: Device,
}

fn rule(comment: &str, matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule { matches, count_interface: None, counter: None, verdict, comment: comment.into() }
}

impl Judge<'_> {
    fn base(self) -> Vec<Rule> {
        let mut rules = Vec::new();
        if self.place == POSTROUTING {
            rules.push(rule("this host's own, or inside a bridge", vec![Match::NoIngress], Verdict::Accept));
        }
        let other_port = Match::Port { set: names::PORTS.into(), negated: true };
        if self.place == (Place { hook: Hook::Forward, look: Look::First }) {
            rules.extend(routed_notes());
        }
        rules.push(rule("any other port passes", vec![other_port], Verdict::Accept));
        rules.extend(self.proxied());
        let on_vrf = vec![self.on(names::VRF_DEVICES)];
        rules.push(if self.knows_members() {
            rule("judged as its VRF member's", on_vrf, Verdict::Goto(names::vrf(self.place)))
        } else {
            rule("judged already as its VRF member's", on_vrf, Verdict::Accept)
        });
        rules.extend(self.classes());
        rules
    }

    /// `meta sdif` is for input and forward only (`nft_meta_get_validate_sdif`).
    fn knows_members(self) -> bool {
        self.place.hook != Hook::Prerouting && self.place != POSTROUTING
    }

    /// A proxied port is guarded where its proxy listens: the same number elsewhere is somebody else's.
    fn proxied(self) -> Vec<Rule> {
        let port = |set: &str, negated| Match::Port { set: set.into(), negated };
        let elsewhere = |matches: Vec<Match>| {
            let matches = [vec![port(names::PROXIED, false)], matches].concat();
            rule("a proxy's port, elsewhere", matches, Verdict::Accept)
        };
        let not_here = [Family::V4, Family::V6].map(|family| {
            let everywhere = port(names::proxied_everywhere(family), true);
            let at = Match::Endpoint { family, set: names::proxied_at(family).into(), negated: true };
            elsewhere(vec![everywhere, at])
        });
        match self.place.hook {
            Hook::Prerouting => {
                let expected = vec![port(names::EXPECTED, false)];
                let another_machine = vec![Match::DestinationNotIn(names::OWN_ADDRESSES.into())];
                let mut rules = vec![
                    rule("no proxy yet, and may be translated: see input", expected, Verdict::Accept),
                    elsewhere(another_machine),
                ];
                rules.extend(not_here);
                rules
            }
            Hook::Input => not_here.into(),
            Hook::Forward => vec![elsewhere(Vec::new())],
        }
    }

    fn vrf(self) -> Vec<Rule> {
        let own = rule("the host's own, inside a VRF", vec![Match::NoMember], Verdict::Accept);
        [vec![own], self.classes()].concat()
    }

    /// What follows meets packets to a guarded port, and packets whose port cannot be read.
    fn classes(self) -> Vec<Rule> {
        let mut rules = vec![Rule {
            counter: self.passed(CounterName::Trusted),
            ..rule("trusted interfaces pass", vec![self.on(names::TRUSTED)], Verdict::Accept)
        }];
        rules.extend(self.harmless());
        rules.extend(self.replies());
        let containers_enter =
            self.policy.container_access == ContainerAccess::Allow && self.place.hook != Hook::Forward;
        if containers_enter {
            rules.push(self.containers_pass(vec![], "container_access = allow"));
        }
        let allowed = |implied| self.allows.rules(implied, self.passed(CounterName::Allowed), self.device);
        rules.extend(allowed(false));
        if !containers_enter {
            rules.extend(self.containers());
        }
        rules.extend(allowed(true));
        rules.extend(self.onward());
        rules.push(rule("everything else is refused", Vec::new(), self.refusal()));
        rules
    }

    /// What passes is counted at the first look.
    fn passed(self, counter: fn(Hook) -> CounterName) -> Option<CounterName> {
        (self.place.look == Look::First).then(|| counter(self.place.hook))
    }

    /// Packets without a readable port that cannot reach a guarded one.
    fn harmless(self) -> Vec<Rule> {
        let protocols: BTreeSet<Protocol> =
            (self.policy.services.iter()).flat_map(|service| service.protocols.iter().copied()).collect();
        let other = match protocols.first() {
            Some(only) if protocols.len() == 1 => Match::ProtocolIsNot(*only),
            _ => Match::ProtocolIsNeither,
        };
        let fragment = "useless without the first fragment, which is judged";
        vec![
            rule("no guarded protocol", vec![other], Verdict::Accept),
            rule(fragment, vec![Match::LaterFragment(Family::V4)], Verdict::Accept),
            rule(fragment, vec![Match::LaterFragment(Family::V6)], Verdict::Accept),
        ]
    }

    /// Answers to what began on this side from a port that happens to be guarded.
    fn replies(self) -> Vec<Rule> {
        let known = |family| Rule {
            counter: self.passed(CounterName::Reply),
            ..rule(
                "answers what began on this side",
                vec![Match::Opens { negated: true }, Match::Answers(family, names::began(family))],
                Verdict::Accept,
            )
        };
        [Family::V4, Family::V6].map(known).into()
    }

    fn containers_pass(self, mut extra: Vec<Match>, comment: &str) -> Rule {
        let mut matches = in_container(self.device).to_vec();
        matches.append(&mut extra);
        Rule { counter: self.passed(CounterName::Container), ..rule(comment, matches, Verdict::Accept) }
    }

    /// Containers that may not enter, and that no `[[allow]]` names.
    fn containers(self) -> Vec<Rule> {
        let deny = || rule("containers do not reach this host", in_container(self.device).to_vec(), self.refusal());
        match self.place.hook {
            Hook::Forward => vec![self.containers_pass(vec![], "containers reach elsewhere")],
            // Group addresses too are left to input: with br_netfilter their copies inside the bridge are here as well.
            Hook::Prerouting => {
                let elsewhere = Match::DestinationNotIn(names::OWN_ADDRESSES.into());
                vec![self.containers_pass(vec![elsewhere], "containers reach elsewhere"), deny()]
            }
            Hook::Input => vec![deny()],
        }
    }

    /// Packets on guarded interfaces that are none of our business, or somebody else's.
    fn onward(self) -> Vec<Rule> {
        match self.place.hook {
            Hook::Prerouting => {
                let inside = vec![self.on(names::BRIDGES), Match::DestinationNotIn(names::OWN_ADDRESSES.into())];
                let mut rules = vec![rule("may stay inside its bridge: see input, forward", inside, Verdict::Accept)];
                if self.forwards() {
                    let unicast = Match::Destination { kind: AddressType::Unicast, negated: false };
                    rules.push(rule("forwarded = pass", vec![unicast], Verdict::Accept));
                }
                rules
            }
            Hook::Forward => {
                let mut rules = if self.place.look == Look::First { self.inside_a_bridge() } else { vec![] };
                if self.forwards() {
                    rules.push(rule(THIS_HOSTS_CONTAINERS, in_container(Device::Egress).to_vec(), self.refusal()));
                    let mixed =
                        Match::Device { device: Device::Egress, set: names::WITH_CONTAINERS.into(), negated: false };
                    rules.push(rule("containers, among others", vec![mixed], self.refusal()));
                    rules.push(rule("forwarded = pass", vec![], Verdict::Accept));
                }
                rules
            }
            Hook::Input => vec![],
        }
    }

    /// What enters and leaves by one bridge: bridged frames, which are nobody's business, and what is routed. Postrouting
    /// tells them apart, but for frames that DNAT sent elsewhere behind the same bridge: only with `br_netfilter` are they
    /// bridged (`br_nf_pre_routing_finish`).
    fn inside_a_bridge(self) -> Vec<Rule> {
        let inside = || Match::Devices(names::INSIDE_BRIDGES.into());
        let mut rules = Vec::new();
        // Not without need: it makes the kernel track connections.
        if self.surroundings.bridges_translate && !self.surroundings.bridges.is_empty() {
            let mut translated = vec![inside(), Match::Translated];
            if self.forwards() {
                translated.extend(in_container(Device::Egress));
            }
            let refuse = Verdict::Goto(names::refuse(self.place.hook, self.device == Device::Member));
            rules.push(rule("translated inside a bridge", translated, refuse));
        }
        rules.push(rule("inside a bridge; if routed: see postrouting", vec![inside()], Verdict::Accept));
        rules
    }

    fn forwards(self) -> bool {
        self.policy.forwarded == Forwarded::Pass
    }

    /// The end of every refused packet: counted by interface, by reason, dropped.
    fn refuse(self) -> Vec<Rule> {
        let observed = self.policy.mode == Mode::Observe;
        let counter = |why| Some(CounterName::Refused(Refused { hook: self.place.hook, why, observed }));
        let verdict = || if observed { Verdict::Accept } else { Verdict::Drop };
        let port = vec![Match::Port { set: names::PORTS.into(), negated: false }];
        let mut rules = self.left_to_the_program();
        rules.extend([
            Rule {
                count_interface: Some((self.device, names::counted(self.place.hook, observed))),
                ..rule("counted by interface", vec![], Verdict::Continue)
            },
            Rule { counter: counter(Why::Untrusted), ..rule("no stranger reaches a guarded port", port, verdict()) },
            Rule {
                counter: counter(Why::Hidden),
                ..rule("a port that cannot be read is taken for guarded", vec![], verdict())
            },
        ]);
        rules
    }

    /// With `br_netfilter` a frame is here before traffic control sees it on the bridge device. The program there drops it
    /// with its source told, and input what gets past the program: nobody translates it on the way.
    fn left_to_the_program(self) -> Vec<Rule> {
        if self.place.hook != Hook::Prerouting || !self.surroundings.leaves_bridges() {
            return Vec::new();
        }
        let left = vec![self.on(names::JUDGED)];
        if self.policy.mode == Mode::Observe {
            return vec![rule("counted by the bridge's program", left, Verdict::Accept)];
        }
        let untracked = [left.clone(), vec![Match::Untracked]].concat();
        vec![
            rule("so that it stays what it is", left, Verdict::Untrack),
            rule("the bridge's program drops it, or input", untracked, Verdict::Accept),
        ]
    }

    /// In observe mode it is counted where it is looked at last, so that it is counted once.
    fn refusal(self) -> Verdict {
        let is_vrf = self.device == Device::Member;
        let is_last = match self.place {
            Place { hook: Hook::Prerouting, .. } | Place { look: Look::Last, .. } => true,
            Place { hook: Hook::Forward, .. } => is_vrf,
            Place { hook: Hook::Input, .. } => false,
        };
        let leaves_it = self.policy.mode == Mode::Observe && !is_last;
        if leaves_it { Verdict::Accept } else { Verdict::Goto(names::refuse(self.place.hook, is_vrf)) }
    }

    fn on(self, set: &str) -> Match {
        Match::Device { device: self.device, set: set.into(), negated: false }
    }
}

fn in_container(device: Device) -> [Match; 2] {
    [
        Match::Device { device, set: names::CONTAINERS.into(), negated: false },
        Match::Device { device, set: names::NOT_CONTAINERS.into(), negated: true },
    ]
}

/// Connections that begin on this side from a guarded port are noted where they leave, as they are there: a packet of the other
/// direction is the very reverse at prerouting of what postrouting saw, at input of what output saw, at forward of what
/// forward saw, whatever was translated in between. So no rule asks connection tracking, and none is switched on for it.
/// What a server sends never opens a connection (see [`Match::Opens`]), whatever a stranger makes it send.
fn notes() -> Vec<Chain> {
    let note = |family| rule("began on this side", vec![], Verdict::Note(family, names::began(family)));
    let leaving = |hook: Hook, more: Vec<Match>| {
        let place = Place { hook, look: Look::Note };
        let outwards = Match::Device { device: Device::Egress, set: names::TRUSTED.into(), negated: true };
        let matches = [opening(), vec![outwards], more].concat();
        let rules = vec![rule("may be answered at a guarded port", matches, Verdict::Goto(names::NOTE.into()))];
        Chain { name: place.chain().into(), hook: Some(place), rules }
    };
    vec![
        Chain { name: names::NOTE.into(), hook: None, rules: [Family::V4, Family::V6].map(note).into() },
        leaving(Hook::Input, vec![]),
        // What is routed counts if it was translated to an address of this host: any other anybody can write into a packet.
        leaving(Hook::Prerouting, vec![Match::OwnSource]),
    ]
}

/// What is routed from inside, as `forward` sees it; it passes there in any case.
fn routed_notes() -> Vec<Rule> {
    let trusted = vec![Match::Device { device: Device::Ingress, set: names::TRUSTED.into(), negated: false }];
    let note = |from: Vec<Match>| {
        let matches = [opening(), from].concat();
        rule("may be answered at a guarded port", matches, Verdict::Goto(names::NOTE.into()))
    };
    vec![note(trusted), note(in_container(Device::Ingress).to_vec())]
}

fn opening() -> Vec<Match> {
    vec![Match::Opens { negated: false }, Match::SourcePort(names::PORTS.into())]
}
