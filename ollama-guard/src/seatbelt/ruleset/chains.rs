//! The chains: the policy's sentences, in the order in which a packet is asked them.

use std::collections::BTreeSet;

use super::allows::Allows;
use super::{AddressType, Chain, CounterName, Device, Family, Hook, Match, Refused, Rule, Verdict, Why};
use crate::policy::{ContainerAccess, Forwarded, Mode, Policy, Protocol};

/// Names of sets and chains.
pub(super) mod names {
    use super::super::{Family, Hook};
    use crate::policy::ServiceName;

    pub(crate) const PORTS: &str = "guarded_ports";
    pub(crate) const TRUSTED: &str = "trusted";
    pub(crate) const CONTAINERS: &str = "containers";
    pub(crate) const NOT_CONTAINERS: &str = "not_containers";
    pub(crate) const BRIDGES: &str = "bridges";
    pub(crate) const VRF_DEVICES: &str = "vrf_devices";
    pub(crate) const INSIDE_BRIDGES: &str = "inside_bridges";
    pub(crate) const OWN_ADDRESSES: &str = "own_addresses";

    pub(crate) fn service(service: &ServiceName) -> String {
        format!("ports_{service}")
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

    pub(crate) fn vrf(hook: Hook) -> String {
        format!("{}_vrf", hook.as_str())
    }
}

/// All chains of a policy.
pub(super) fn of(policy: &Policy, allows: &Allows) -> Vec<Chain> {
    let mut chains = notes();
    for hook in Hook::ALL {
        let judge = Judge { policy, allows, hook, device: Device::Ingress };
        chains.push(Chain { name: hook.as_str().into(), hook: Some(hook), rules: judge.base() });
        chains.push(Chain { name: names::refuse(hook, false), hook: None, rules: judge.refuse() });
        if hook != Hook::Prerouting {
            let judge = Judge { device: Device::Member, ..judge };
            chains.push(Chain { name: names::vrf(hook), hook: None, rules: judge.vrf() });
            chains.push(Chain { name: names::refuse(hook, true), hook: None, rules: judge.refuse() });
        }
    }
    chains
}

#[derive(Clone, Copy)]
struct Judge<'a> {
    policy: &'a Policy,
    allows: &'a Allows,
    hook: Hook,
    device: Device,
}

fn rule(comment: &str, matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule { matches, count_interface: None, counter: None, verdict, comment: comment.into() }
}

impl Judge<'_> {
    fn base(self) -> Vec<Rule> {
        let other_port = Match::Port { set: names::PORTS.into(), negated: true };
        let mut rules = if self.hook == Hook::Forward { routed_notes() } else { Vec::new() };
        rules.push(rule("any other port passes", vec![other_port], Verdict::Accept));
        let on_vrf = vec![self.on(names::VRF_DEVICES)];
        rules.push(match self.hook {
            Hook::Prerouting => rule("judged already as its VRF member's", on_vrf, Verdict::Accept),
            _ => rule("judged as its VRF member's", on_vrf, Verdict::Goto(names::vrf(self.hook))),
        });
        rules.extend(self.classes());
        rules
    }

    fn vrf(self) -> Vec<Rule> {
        let own = rule("the host's own, inside a VRF", vec![Match::NoMember], Verdict::Accept);
        [vec![own], self.classes()].concat()
    }

    /// What follows meets packets to a guarded port, and packets whose port cannot be read.
    fn classes(self) -> Vec<Rule> {
        let mut rules = vec![Rule {
            counter: Some(CounterName::Trusted(self.hook)),
            ..rule("trusted interfaces pass", vec![self.on(names::TRUSTED)], Verdict::Accept)
        }];
        rules.extend(self.harmless());
        rules.extend(self.replies());
        rules.extend(self.containers());
        rules.extend(self.allows.rules(self.hook, self.device));
        rules.extend(self.onward());
        rules.push(rule("everything else is refused", Vec::new(), self.refusal()));
        rules
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
            counter: Some(CounterName::Reply(self.hook)),
            ..rule(
                "answers what began on this side",
                vec![Match::Opens { negated: true }, Match::Answers(family, names::began(family))],
                Verdict::Accept,
            )
        };
        [Family::V4, Family::V6].map(known).into()
    }

    fn containers(self) -> Vec<Rule> {
        let pass = |mut extra: Vec<Match>, comment: &str| {
            let mut matches = in_container(self.device).to_vec();
            matches.append(&mut extra);
            Rule { counter: Some(CounterName::Container(self.hook)), ..rule(comment, matches, Verdict::Accept) }
        };
        let deny = "containers do not reach this host";
        match (self.hook, self.policy.container_access) {
            (Hook::Forward, _) => vec![pass(vec![], "containers reach elsewhere")],
            (_, ContainerAccess::Allow) => vec![pass(vec![], "container_access = allow")],
            // Group addresses too are left to input: with br_netfilter their copies inside the bridge are here as well.
            (Hook::Prerouting, ContainerAccess::Deny) => vec![
                pass(vec![Match::DestinationNotIn(names::OWN_ADDRESSES.into())], "containers reach elsewhere"),
                rule(deny, in_container(self.device).to_vec(), self.refusal()),
            ],
            (_, ContainerAccess::Deny) => {
                vec![rule(deny, in_container(self.device).to_vec(), self.refusal())]
            }
        }
    }

    /// Packets on guarded interfaces that are none of our business, or somebody else's.
    fn onward(self) -> Vec<Rule> {
        let passes = self.policy.forwarded == Forwarded::Pass;
        match self.hook {
            Hook::Prerouting => {
                let inside = vec![self.on(names::BRIDGES), Match::DestinationNotIn(names::OWN_ADDRESSES.into())];
                let mut rules = vec![rule("may stay inside its bridge: see input, forward", inside, Verdict::Accept)];
                if passes {
                    let unicast = Match::Destination { kind: AddressType::Unicast, negated: false };
                    rules.push(rule("forwarded = pass", vec![unicast], Verdict::Accept));
                }
                rules
            }
            Hook::Forward => {
                let inside = vec![Match::Devices(names::INSIDE_BRIDGES.into())];
                let mut rules = vec![rule("stays inside its bridge", inside, Verdict::Accept)];
                if passes {
                    // A container on this host is no other machine, whatever port was published for it.
                    let local = in_container(Device::Egress).to_vec();
                    rules.push(rule("this host's containers", local, self.refusal()));
                    rules.push(rule("forwarded = pass", vec![], Verdict::Accept));
                }
                rules
            }
            _ => vec![],
        }
    }

    /// The end of every refused packet: counted by interface, by reason, dropped.
    fn refuse(self) -> Vec<Rule> {
        let observed = self.policy.mode == Mode::Observe;
        let counter = |why| Some(CounterName::Refused(Refused { hook: self.hook, why, observed }));
        let verdict = || if observed { Verdict::Accept } else { Verdict::Drop };
        let port = vec![Match::Port { set: names::PORTS.into(), negated: false }];
        vec![
            Rule {
                count_interface: Some((self.device, names::counted(self.hook, observed))),
                ..rule("counted by interface", vec![], Verdict::Continue)
            },
            Rule { counter: counter(Why::Untrusted), ..rule("no stranger reaches a guarded port", port, verdict()) },
            Rule {
                counter: counter(Why::Hidden),
                ..rule("a port that cannot be read is taken for guarded", vec![], verdict())
            },
        ]
    }

    fn refusal(self) -> Verdict {
        Verdict::Goto(names::refuse(self.hook, self.device == Device::Member))
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
        let outwards = Match::Device { device: Device::Egress, set: names::TRUSTED.into(), negated: true };
        let matches = [opening(), vec![outwards], more].concat();
        let rules = vec![rule("may be answered at a guarded port", matches, Verdict::Goto(names::NOTE.into()))];
        Chain { name: hook.as_str().into(), hook: Some(hook), rules }
    };
    vec![
        Chain { name: names::NOTE.into(), hook: None, rules: [Family::V4, Family::V6].map(note).into() },
        leaving(Hook::Output, vec![]),
        // What is routed counts if it was translated to an address of this host: any other anybody can write into a packet.
        leaving(Hook::Postrouting, vec![Match::OwnSource]),
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
