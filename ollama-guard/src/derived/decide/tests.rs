//! Whom to believe, and how far.

use super::*;
use crate::config::built_in;
use crate::derived::everywhere;

fn forward(port: u16, target: u16, container: &str, through: &'static str, word: Word) -> Forward {
    let container = Some(container.to_owned());
    Forward { protocol: Protocol::Tcp, ports: port..=port, target, container, through, running: true, word }
}

fn published(port: u16, target: u16, container: &str) -> Forward {
    forward(port, target, container, "published", Word::Root(everywhere()))
}

/// Process 1 is root's, 1000 and 1001 are users'.
fn process(user: u32) -> Word {
    Word::Process { id: user.max(1), user }
}

fn socket_at(address: &str, port: u16, user: u32) -> Socket {
    let (protocol, address) = (Protocol::Tcp, address.parse().unwrap());
    // By the process of that user.
    Socket { protocol, address, v6_only: false, port, user, inode: user.max(1).into() }
}

fn socket(port: u16, user: u32) -> Socket {
    socket_at("::", port, user)
}

fn decided(forwards: &[Forward], sockets: &[Socket]) -> Decision {
    decided_knowing(forwards, sockets, &[])
}

fn decided_knowing(forwards: &[Forward], sockets: &[Socket], known: &[Place]) -> Decision {
    let held = |id: u32, user: u32, socket: &Socket| match u64::from(id) {
        _ if socket.user != user => Held::No,
        inode if socket.inode == inode => Held::Yes,
        _ if socket.inode == 0 => Held::Unknown,
        _ => Held::No,
    };
    let danger = |_, port: NonZeroU16| (port.get() == 22).then(|| "tcp 22 is SSH's port".to_owned());
    let services = built_in().services;
    let facts = Facts { services: &services, forwards, sockets, held: &held, danger: &danger };
    decide(&facts, &known.iter().copied().collect())
}

fn told(forwards: &[Forward], sockets: &[Socket]) -> Vec<String> {
    let ports = decided(forwards, sockets).present;
    ports.iter().map(|port| format!("{port}{}", port.refused.as_deref().unwrap_or_default())).collect()
}

fn addresses(forwards: &[Forward], sockets: &[Socket]) -> Vec<String> {
    let ports = decided(forwards, sockets).present;
    ports.iter().flat_map(|port| &port.addresses).map(ToString::to_string).collect()
}

#[test]
fn what_leads_to_a_guarded_port_is_derived_once_and_named() {
    let forwards = [
        forward(8080, 11434, "172.17.0.2", "docker-proxy", process(0)),
        published(8080, 11434, "web"),
        published(9090, 9090, "other"),
    ];
    assert_eq!(told(&forwards, &[socket(8080, 0)]), ["tcp 8080 → ollama (container web, docker-proxy)"]);
}

#[test]
fn a_guarded_port_needs_no_deriving() {
    assert_eq!(told(&[published(11434, 11434, "ollama")], &[]), [""; 0]);
}

#[test]
fn nobody_closes_a_port_of_somebody_else() {
    let forged = [forward(443, 11434, "x", "docker-proxy", process(1000))];
    assert_eq!(told(&forged, &[socket(443, 0)]), [""; 0], "root listens there");
    assert_eq!(told(&forged, &[socket(443, 1001)]), [""; 0], "another user does");
    assert_eq!(told(&forged, &[]), [""; 0], "nobody does");
    let another = Socket { inode: 77, ..socket(443, 1000) };
    assert_eq!(told(&forged, &[another]), [""; 0], "another process of his does");
    assert_eq!(told(&forged, &[socket(443, 1000)]).len(), 1);
}

/// Beside root's socket on the same port: only what he listens on himself.
#[test]
fn a_port_is_derived_for_the_addresses_at_which_its_proxy_listens() {
    let forged = [forward(8080, 11434, "x", "docker-proxy", process(1000))];
    let root = socket_at("0.0.0.0", 8080, 0);
    let beside = |address| addresses(&forged, &[root.clone(), socket_at(address, 8080, 1000)]);
    assert_eq!(beside("::1"), ["::1"]);
    assert_eq!(beside("127.0.0.2"), ["127.0.0.2"]);
    assert_eq!(beside("::ffff:10.0.0.5"), ["10.0.0.5"]);
    assert_eq!(addresses(&forged, &[socket(8080, 1000)]), ["0.0.0.0", "::"]);
    let v6_only = Socket { v6_only: true, ..socket(8080, 1000) };
    assert_eq!(addresses(&forged, &[root, v6_only]), ["::"]);
    let many: Vec<_> = (0..100).map(|nth| socket_at(&format!("127.0.1.{nth}"), 8080, 1000)).collect();
    let many = [&many[..], &[socket_at("0.0.0.0", 8080, 1000)]].concat();
    let found = addresses(&forged, &many);
    assert_eq!((found.len(), found[0].as_str()), (MOST_ADDRESSES, "0.0.0.0"));
}

#[test]
fn what_cannot_be_known_is_told_and_left_alone() {
    let hidden = Socket { inode: 0, ..socket(8080, 1000) };
    let decision = decided(&[forward(8080, 11434, "x", "pasta", process(1000))], &[hidden]);
    assert!(decision.present.is_empty());
    let words: Vec<_> = decision.unknown.iter().map(ToString::to_string).collect();
    assert!(words.len() == 1 && words[0].contains("pasta of user 1000"), "{words:?}");
}

#[test]
fn a_user_s_engine_is_believed_for_that_user_s_sockets() {
    let said = [forward(8080, 11434, "x", "published", Word::User(1000))];
    assert_eq!(told(&said, &[socket(8080, 0)]), [""; 0]);
    assert_eq!(told(&said, &[socket(8080, 1000)]).len(), 1);
}

#[test]
fn a_user_with_many_proxies_crowds_out_nobody() {
    let mut forwards: Vec<_> =
        (10_000..12_000).map(|port| forward(port, 11434, "x", "pasta", process(1000 + u32::from(port % 40)))).collect();
    forwards.push(forward(20_000, 11434, "web", "docker-proxy", process(0)));
    let sockets: Vec<_> = forwards.iter().map(|one| socket(*one.ports.start(), one.word.user())).collect();
    let ports = told(&forwards, &sockets);
    assert_eq!(ports.len(), MOST);
    assert!(ports.iter().any(|port| port.contains("tcp 20000")), "{ports:?}");
    let one: Vec<_> = forwards.into_iter().filter(|one| [0, 1000].contains(&one.word.user())).collect();
    assert_eq!(told(&one, &sockets).len(), MOST_OF_USER + 1);
}

#[test]
fn a_port_that_could_lock_out_is_told_and_not_guarded() {
    let ports = told(&[published(22, 11434, "web")], &[]);
    assert_eq!(ports, ["tcp 22 → ollama (container web, published)tcp 22 is SSH's port"]);
}

#[test]
fn a_container_that_does_not_run_keeps_its_port_unless_somebody_else_uses_it() {
    let idle = |port| Forward { running: false, ..published(port, 11434, "web") };
    let expected = |forwards: &[Forward], sockets: &[Socket]| {
        decided(forwards, sockets).expected.iter().map(|port| port.port).collect::<Vec<_>>()
    };
    assert_eq!(expected(&[idle(8080), idle(11434)], &[]), [8080]);
    assert!(expected(&[idle(8080)], &[socket(8080, 1000)]).is_empty());
    assert_eq!(expected(&[idle(8080)], &[socket_at("127.0.0.1", 8080, 1000)]), [8080]);
    let other = published(8080, 80, "nginx");
    assert!(expected(&[idle(8080), other.clone()], &[]).is_empty());
    let place = (Protocol::Tcp, 8080);
    assert_eq!(decided_knowing(&[idle(8080), other], &[], &[place]).elsewhere, [place].into());
    // A user cannot reserve what nobody listens on.
    assert!(expected(&[Forward { word: Word::User(1000), ..idle(8080) }], &[]).is_empty());
}
