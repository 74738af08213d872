//! Which forwards end at a guarded port.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use super::{DerivedPort, Forward};
use crate::policy::{Protocol, Service, ServiceName};
use crate::sockets::Socket;

/// More than anybody publishes; they must fit what is written down for `status`.
pub(super) const MOST: usize = 128;
/// Of a container's name; Docker's own are shorter.
const LONGEST_NAME: usize = 64;

/// What the forwards and sockets of a moment say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Ports that lead to a guarded one, sorted.
    pub(super) present: Vec<DerivedPort>,
    /// Ports that will when their container runs. Nothing else leads or listens there, so nobody misses them, sorted.
    pub(super) expected: Vec<DerivedPort>,
    /// Ports that lead to something else.
    pub(super) elsewhere: BTreeSet<(Protocol, u16)>,
}

/// The ports to guard besides the policy's own. `danger` says why guarding a port could lock the user out.
pub(super) fn decide(
    services: &[Service],
    forwards: &[Forward],
    sockets: &[Socket],
    danger: impl Fn(Protocol, NonZeroU16) -> Option<String>,
) -> Decision {
    let believed = forwards.iter().filter(|forward| is_believed(forward, sockets));
    let (running, idle): (Vec<_>, Vec<_>) = believed.partition(|forward| forward.running);
    let used: BTreeSet<_> = running.iter().map(|forward| (forward.protocol, forward.port)).collect();
    let is_free = |forward: &&Forward| {
        let place = (forward.protocol, forward.port);
        !used.contains(&place) && !sockets.iter().any(|socket| occupies(socket, place))
    };
    let present = leading(services, running, &danger);
    let expected = leading(services, idle.into_iter().filter(is_free).collect(), &danger);
    let is_present = |place: &(Protocol, u16)| present.iter().any(|port| (port.protocol, port.port) == *place);
    Decision { elsewhere: used.into_iter().filter(|place| !is_present(place)).collect(), present, expected }
}

/// Those of the forwards that end at a guarded port, by host port.
fn leading(
    services: &[Service],
    mut forwards: Vec<&Forward>,
    danger: impl Fn(Protocol, NonZeroU16) -> Option<String>,
) -> Vec<DerivedPort> {
    let mut found: BTreeMap<(Protocol, u16), DerivedPort> = BTreeMap::new();
    // Root's first: a user with many proxies crowds out nobody else's.
    forwards.sort_by_key(|forward| forward.user.unwrap_or(0));
    for forward in forwards {
        let Forward { protocol, port, target, container, through, running, .. } = forward;
        let guarded = |port| service(services, *protocol, port);
        let (Some(service), None, Some(number)) = (guarded(*target), guarded(*port), NonZeroU16::new(*port)) else {
            continue;
        };
        if found.len() == MOST && !found.contains_key(&(*protocol, *port)) {
            continue;
        }
        let known = found.entry((*protocol, *port)).or_insert_with(|| DerivedPort {
            protocol: *protocol,
            port: *port,
            service: service.clone(),
            container: None,
            through: through.clone(),
            present: *running,
            refused: danger(*protocol, number),
        });
        if known.is_nameless()
            && let Some(container) = container
        {
            // Anybody's text: it goes to logs and terminals.
            known.container = Some(container.chars().filter(char::is_ascii_graphic).take(LONGEST_NAME).collect());
        }
    }
    found.into_values().collect()
}

/// Does the socket take what arrives from elsewhere for this port?
pub(super) fn occupies(socket: &Socket, place: (Protocol, u16)) -> bool {
    (socket.protocol, socket.port) == place && !socket.address.to_canonical().is_loopback()
}

fn is_believed(forward: &Forward, sockets: &[Socket]) -> bool {
    let by = |user| {
        let same = |socket: &Socket| (socket.protocol, socket.port) == (forward.protocol, forward.port);
        sockets.iter().any(|socket| same(socket) && socket.user == user)
    };
    forward.user.is_none_or(by)
}

pub(super) fn service(services: &[Service], protocol: Protocol, port: u16) -> Option<&ServiceName> {
    let guards = |service: &&Service| {
        service.protocols.contains(&protocol) && service.ports.iter().any(|guarded| guarded.get() == port)
    };
    services.iter().find(guards).map(|service| &service.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;

    fn forward(port: u16, target: u16, container: &str, through: &str, user: Option<u32>) -> Forward {
        let (container, through) = (Some(container.to_owned()), through.to_owned());
        Forward { protocol: Protocol::Tcp, port, target, container, through, running: true, user }
    }

    fn socket(port: u16, user: u32) -> Socket {
        Socket { protocol: Protocol::Tcp, address: "::".parse().unwrap(), port, user, inode: 0 }
    }

    fn decided(forwards: &[Forward], sockets: &[Socket]) -> Vec<String> {
        let danger = |_, port: NonZeroU16| (port.get() == 22).then(|| "tcp 22 is SSH's port".to_owned());
        let ports = decide(&built_in().services, forwards, sockets, danger).present;
        ports.iter().map(|port| format!("{port}{}", port.refused.as_deref().unwrap_or_default())).collect()
    }

    #[test]
    fn what_leads_to_a_guarded_port_is_derived_once_and_named() {
        let forwards = [
            forward(8080, 11434, "172.17.0.2", "docker-proxy", Some(0)),
            forward(8080, 11434, "web", "published", None),
            forward(9090, 9090, "other", "published", None),
        ];
        assert_eq!(decided(&forwards, &[socket(8080, 0)]), ["tcp 8080 → ollama (container web, docker-proxy)"]);
    }

    #[test]
    fn a_guarded_port_needs_no_deriving() {
        assert_eq!(decided(&[forward(11434, 11434, "ollama", "published", None)], &[]), [""; 0]);
    }

    #[test]
    fn nobody_closes_a_port_of_somebody_else() {
        let forged = [forward(443, 11434, "x", "docker-proxy", Some(1000))];
        assert_eq!(decided(&forged, &[socket(443, 0)]), [""; 0]);
        assert_eq!(decided(&forged, &[]), [""; 0]);
        assert_eq!(decided(&forged, &[socket(443, 1000)]).len(), 1);
    }

    #[test]
    fn a_user_with_many_proxies_crowds_out_nobody() {
        let mut forwards: Vec<_> =
            (10_000..12_000).map(|port| forward(port, 11434, "x", "pasta", Some(1000))).collect();
        forwards.push(forward(20_000, 11434, "web", "docker-proxy", Some(0)));
        let sockets: Vec<_> = forwards.iter().map(|forward| socket(forward.port, forward.user.unwrap())).collect();
        let ports = decided(&forwards, &sockets);
        assert_eq!(ports.len(), MOST);
        assert!(ports.iter().any(|port| port.contains("tcp 20000")), "{ports:?}");
    }

    #[test]
    fn a_port_that_could_lock_out_is_told_and_not_guarded() {
        let ports = decided(&[forward(22, 11434, "web", "published", None)], &[]);
        assert_eq!(ports, ["tcp 22 → ollama (container web, published)tcp 22 is SSH's port"]);
    }

    #[test]
    fn a_container_that_does_not_run_keeps_its_port_unless_somebody_else_uses_it() {
        let idle = |port| Forward { running: false, ..forward(port, 11434, "web", "published", None) };
        let expected = |forwards: &[Forward], sockets: &[Socket]| {
            let decision = decide(&built_in().services, forwards, sockets, |_, _| None);
            decision.expected.iter().map(|port| port.port).collect::<Vec<_>>()
        };
        assert_eq!(expected(&[idle(8080), idle(11434)], &[]), [8080]);
        assert!(expected(&[idle(8080)], &[socket(8080, 1000)]).is_empty());
        let loopback = Socket { address: "127.0.0.1".parse().unwrap(), ..socket(8080, 1000) };
        assert_eq!(expected(&[idle(8080)], &[loopback]), [8080]);
        let other = forward(8080, 80, "nginx", "published", None);
        assert!(expected(&[idle(8080), other.clone()], &[]).is_empty());
        let decision = decide(&built_in().services, &[idle(8080), other], &[], |_, _| None);
        assert_eq!(decision.elsewhere, [(Protocol::Tcp, 8080)].into());
        // A user cannot reserve what nobody listens on.
        assert!(expected(&[Forward { user: Some(1000), ..idle(8080) }], &[]).is_empty());
    }
}
