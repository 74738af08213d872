//! `[[allow]]` entries, grouped so that each group is one set a family and one rule.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::chains::names;
use super::{CounterName, Device, Elements, Family, Match, Rule, Set, Verdict};
use crate::policy::{Allow, InterfaceName, Policy, ServiceName};

/// The interface and the service an entry is limited to, and whether it opens guarded interfaces only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    interface: Option<InterfaceName>,
    service: Option<ServiceName>,
    implied: bool,
}

/// All entries of a policy. A packet is allowed if any entry names its source, its interface (if the entry names
/// one) and its service (if the entry names one).
pub(super) struct Allows {
    groups: Vec<Group>,
}

struct Group {
    scope: Scope,
    v4: BTreeSet<Ipv4Net>,
    v6: BTreeSet<Ipv6Net>,
}

impl Allows {
    pub(super) fn of(policy: &Policy) -> Self {
        let mut groups: BTreeMap<Scope, Group> = BTreeMap::new();
        for allow in &policy.allow {
            let Allow { interface, service, implied, .. } = allow.clone();
            let scope = Scope { interface, service, implied };
            let group = groups.entry(scope.clone()).or_insert_with(|| Group {
                scope,
                v4: BTreeSet::new(),
                v6: BTreeSet::new(),
            });
            match allow.source {
                IpNet::V4(network) => group.v4.insert(network),
                IpNet::V6(network) => group.v6.insert(network),
            };
        }
        Self { groups: groups.into_values().collect() }
    }

    /// The services that some entry names.
    pub(super) fn services(&self) -> BTreeSet<&ServiceName> {
        self.groups.iter().filter_map(|group| group.scope.service.as_ref()).collect()
    }

    /// One set a group and family that has entries.
    pub(super) fn sets(&self) -> impl Iterator<Item = Set> {
        self.groups.iter().enumerate().flat_map(|(index, group)| {
            let v4 = Set { name: names::allow(index, Family::V4), elements: Elements::V4(group.v4.clone()) };
            let v6 = Set { name: names::allow(index, Family::V6), elements: Elements::V6(group.v6.clone()) };
            [(!group.v4.is_empty()).then_some(v4), (!group.v6.is_empty()).then_some(v6)].into_iter().flatten()
        })
    }

    /// The rules that let these sources pass, counted if at all: those that somebody wrote, or those that the profile
    /// implies.
    pub(super) fn rules(
        &self,
        implied: bool,
        counter: Option<CounterName>,
        device: Device,
    ) -> impl Iterator<Item = Rule> {
        let groups = self.groups.iter().enumerate().filter(move |(_, group)| group.scope.implied == implied);
        groups.flat_map(move |(index, group)| {
            let families = [(Family::V4, group.v4.is_empty()), (Family::V6, group.v6.is_empty())];
            families.into_iter().filter(|(_, empty)| !empty).map(move |(family, _)| {
                // The port again: a packet that hides its port has no source to be trusted for.
                let Scope { interface, service, .. } = &group.scope;
                let ports = service.as_ref().map_or_else(|| names::PORTS.to_owned(), names::service);
                let mut matches = vec![Match::Port { set: ports, negated: false }];
                matches.extend(interface.clone().map(|name| Match::DeviceIs(device, name)));
                matches.push(Match::Source(family, names::allow(index, family)));
                Rule {
                    matches,
                    count_interface: None,
                    counter,
                    verdict: Verdict::Accept,
                    comment: "an [[allow]] names this source".into(),
                }
            })
        })
    }
}
