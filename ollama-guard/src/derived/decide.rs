//! Which forwards end at a guarded port, and at which addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::holders::Held;
use super::{DerivedPort, Forward, Place, Unknown, Word};
use crate::policy::{Protocol, Service, ServiceName};
use crate::quota::Quota;
use crate::sockets::Socket;

/// More than anybody publishes; they must fit what is written down for `status`.
pub(super) const MOST: usize = 128;
/// And more than a user does.
const MOST_OF_USER: usize = 32;
/// Of a port; more is a user's game.
const MOST_ADDRESSES: usize = 16;
/// Of a container's name; Docker's own are shorter.
const LONGEST_NAME: usize = 64;

/// Ports by whose word they are: root's are crowded out by nobody.
pub(super) fn quota() -> Quota {
    Quota::new(MOST, MOST_OF_USER, MOST)
}

/// What the forwards and sockets of a moment say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Ports that lead to a guarded one, sorted.
    pub(super) present: Vec<DerivedPort>,
    /// Ports that will when their container runs. Nothing else leads or listens there, so nobody misses them, sorted.
    pub(super) expected: Vec<DerivedPort>,
    /// Of the known ports, those that lead to something else.
    pub(super) elsewhere: BTreeSet<Place>,
    /// What could not be decided.
    pub(super) unknown: BTreeSet<Unknown>,
}

/// What there is to decide by.
pub(super) struct Facts<'a> {
    /// What the policy guards.
    pub(super) services: &'a [Service],
    pub(super) forwards: &'a [Forward],
    /// The host's sockets that wait for packets.
    pub(super) sockets: &'a [Socket],
    /// Does a process of this user hold a socket?
    pub(super) held: &'a dyn Fn(u32, u32, &Socket) -> Held,
    /// Why guarding a port could lock the user out.
    pub(super) danger: &'a dyn Fn(Protocol, NonZeroU16) -> Option<String>,
}

/// A forward's port that leads to a guarded one.
struct Lead<'a> {
    forward: &'a Forward,
    place: Place,
    service: &'a ServiceName,
    addresses: BTreeSet<IpAddr>,
}

/// The ports to guard besides the policy's own. `known`: those that were.
pub(super) fn decide(facts: &Facts<'_>, known: &BTreeSet<Place>) -> Decision {
    let mut decision = Decision::default();
    let mut forwards: Vec<&Forward> = facts.forwards.iter().collect();
    forwards.sort_by_key(|forward| forward.word.user());
    let (running, idle): (Vec<_>, Vec<_>) = forwards.into_iter().partition(|forward| forward.running);
    let leads: Vec<Lead<'_>> = running.iter().flat_map(|one| facts.leads(one, &mut decision.unknown)).collect();
    decision.present = facts.ports(leads, true);
    let is_present = |place: Place| decision.present.iter().any(|port| port.place() == place);
    let leads_elsewhere = |place: Place| {
        let leads = |forward: &&&Forward| forward.target_of(place).is_some();
        running.iter().filter(leads).any(|forward| !facts.addresses(forward, place, &mut BTreeSet::new()).is_empty())
    };
    let is_free = |lead: &Lead<'_>| {
        let occupied = facts.sockets.iter().any(|socket| occupies(socket, lead.place));
        !is_present(lead.place) && !occupied && !leads_elsewhere(lead.place)
    };
    let waiting = idle.iter().flat_map(|one| facts.leads(one, &mut decision.unknown)).filter(is_free).collect();
    let expected = facts.ports(waiting, false);
    let elsewhere = |place: &&Place| !is_present(**place) && leads_elsewhere(**place);
    decision.elsewhere = known.iter().filter(elsewhere).copied().collect();
    decision.expected = expected;
    decision
}

impl<'a> Facts<'a> {
    /// Its ports that lead to guarded ones and are not guarded themselves, where it is believed.
    fn leads(&self, forward: &'a Forward, unknown: &mut BTreeSet<Unknown>) -> Vec<Lead<'a>> {
        let services = self.services.iter().filter(|service| service.protocols.contains(&forward.protocol));
        let targets = services.flat_map(|service| service.ports.iter().map(move |port| (&service.name, port.get())));
        let lead = |(service, target)| {
            let place = (forward.protocol, forward.port_to(target)?);
            if self::service(self.services, place).is_some() {
                return None;
            }
            let addresses = self.addresses(forward, place, unknown);
            (!addresses.is_empty()).then_some(Lead { forward, place, service, addresses })
        };
        targets.filter_map(lead).collect()
    }

    /// The addresses of this host at which a forward is believed.
    fn addresses(&self, forward: &Forward, place: Place, unknown: &mut BTreeSet<Unknown>) -> BTreeSet<IpAddr> {
        let user = match &forward.word {
            Word::Root(addresses) => return addresses.clone(),
            Word::User(user) | Word::Process { user, .. } => *user,
        };
        let mut addresses = BTreeSet::new();
        let own = |socket: &&Socket| (socket.protocol, socket.port) == place && socket.user == user;
        for socket in self.sockets.iter().filter(own) {
            let held = match forward.word {
                Word::Process { id, .. } => (self.held)(id, user, socket),
                _ => Held::Yes,
            };
            match held {
                Held::Yes => addresses.extend(socket.addresses()),
                Held::No => {}
                Held::Unknown => drop(unknown.insert(Unknown::proxy(forward, place, user))),
            }
        }
        // What strangers reach first.
        let mut sorted: Vec<_> = addresses.into_iter().collect();
        sorted.sort_by_key(|address| (!address.is_unspecified(), address.is_loopback()));
        sorted.into_iter().take(MOST_ADDRESSES).collect()
    }

    fn ports(&self, leads: Vec<Lead<'_>>, present: bool) -> Vec<DerivedPort> {
        let (mut found, mut quota) = (BTreeMap::<Place, DerivedPort>::new(), quota());
        for Lead { forward, place, service, addresses } in leads {
            let Some(number) = NonZeroU16::new(place.1) else { continue };
            let user = forward.word.user();
            if !found.contains_key(&place) && (found.len() == MOST || !quota.take(user)) {
                continue;
            }
            let known = found.entry(place).or_insert_with(|| DerivedPort {
                protocol: place.0,
                port: place.1,
                addresses: BTreeSet::new(),
                service: service.clone(),
                container: None,
                through: forward.through.to_owned(),
                present,
                user,
                expected: !present,
                refused: (self.danger)(place.0, number),
            });
            known.addresses.extend(addresses);
            if known.is_nameless()
                && let Some(container) = &forward.container
            {
                // Anybody's text: it goes to logs and terminals.
                known.container = Some(container.chars().filter(char::is_ascii_graphic).take(LONGEST_NAME).collect());
            }
        }
        found.into_values().collect()
    }
}

/// Does the socket take what arrives from elsewhere for this port?
pub(super) fn occupies(socket: &Socket, place: Place) -> bool {
    (socket.protocol, socket.port) == place && !socket.address.to_canonical().is_loopback()
}

/// The service that guards a port.
pub(super) fn service(services: &[Service], (protocol, port): Place) -> Option<&ServiceName> {
    let guards = |service: &&Service| {
        service.protocols.contains(&protocol) && service.ports.iter().any(|guarded| guarded.get() == port)
    };
    services.iter().find(guards).map(|service| &service.name)
}

#[cfg(test)]
mod tests;
