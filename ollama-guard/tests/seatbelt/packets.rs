//! Real packets, with no eBPF attached: a host between a stranger (eth0), a friend (wg0), a container and a bridge.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ollama_guard::policy::*;
use ollama_guard::seatbelt::ruleset::{Surroundings, lower};
use ollama_guard::seatbelt::{Seatbelt, TABLE};

use crate::support::{self, Netns, allow};

pub(crate) const GUARDED: u16 = 11434;
pub(crate) const WAIT: Duration = Duration::from_millis(400);

pub(crate) struct World {
    pub(crate) host: Netns,
    pub(crate) stranger: Netns,
    pub(crate) friend: Netns,
    pub(crate) container: Netns,
    pub(crate) bridged: [Netns; 2],
}

pub(crate) fn link(host: &Netns, name: &str, peer: &Netns, number: u8) {
    host.ip(&format!("link add {name} type veth peer name up0 netns {}", peer.0));
    peer.ip("link set up0 up");
    host.ip(&format!("link set {name} up"));
    peer.ip(&format!("addr add 10.0.{number}.2/24 dev up0"));
    peer.ip(&format!("addr add fd00:{number}::2/64 dev up0 nodad"));
    peer.ip(&format!("route add default via 10.0.{number}.1"));
    peer.ip(&format!("route add default via fd00:{number}::1"));
}

pub(crate) fn address(host: &Netns, name: &str, number: u8) {
    host.ip(&format!("addr add 10.0.{number}.1/24 dev {name}"));
    host.ip(&format!("addr add fd00:{number}::1/64 dev {name} nodad"));
}

/// Answers every connection with one byte; lives as long as the test process.
fn serve(at: &Netns, ports: &[u16]) {
    for port in ports {
        let listener = at.within(|| TcpListener::bind(("::", *port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.write_all(b"x").is_ok() && matches!(stream.read(&mut byte), Ok(1)) {}
                });
            }
        });
    }
}

fn connect(from: &Netns, to: &str) -> Option<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    from.within(|| match TcpStream::connect_timeout(&to, WAIT) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(WAIT)).unwrap();
            stream.read_exact(&mut [0]).ok().map(|()| stream)
        }
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => None,
        Err(error) => panic!("{to}: {error}"),
    })
}

pub(crate) fn open(from: &Netns, to: &str) {
    // Neighbours may have to be found first.
    assert!((0..8).any(|_| connect(from, to).is_some()), "{} cannot reach {to}", from.0);
}

pub(crate) fn closed(from: &Netns, to: &str) {
    assert!(connect(from, to).is_none(), "{} reaches {to}", from.0);
}

impl World {
    pub(crate) fn new() -> Self {
        let [host, stranger, friend, container] = ["host", "stranger", "friend", "box"].map(Netns::new);
        let bridged = ["left", "right"].map(Netns::new);
        for namespace in [&host, &stranger, &friend, &container, &bridged[0], &bridged[1]] {
            namespace.sysctl("net.ipv6.conf.default.accept_dad", "0");
        }
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            host.sysctl(key, "1");
        }
        link(&host, "eth0", &stranger, 1);
        address(&host, "eth0", 1);
        link(&host, "wg0", &friend, 2);
        address(&host, "wg0", 2);
        for bridge in ["docker0", "vmbr0"] {
            host.ip(&format!("link add {bridge} type bridge"));
            host.ip(&format!("link set {bridge} up"));
        }
        address(&host, "docker0", 3);
        address(&host, "vmbr0", 4);
        link(&host, "veth0", &container, 3);
        host.ip("link set veth0 master docker0");
        for (index, side) in bridged.iter().enumerate() {
            let name = format!("tap{index}");
            link(&host, &name, side, 4);
            host.ip(&format!("link set {name} master vmbr0"));
        }
        bridged[1].ip("addr flush dev up0");
        bridged[1].ip("addr add 10.0.4.3/24 dev up0");
        bridged[1].ip("addr add fd00:4::3/64 dev up0 nodad");
        serve(&host, &[GUARDED, 80]);
        serve(&container, &[GUARDED, 80]);
        serve(&friend, &[GUARDED]);
        serve(&bridged[1], &[GUARDED]);
        Self { host, stranger, friend, container, bridged }
    }

    pub(crate) fn guard(&self, policy: &Policy) -> Seatbelt {
        let bridges: BTreeSet<InterfaceName> = ["docker0", "vmbr0"].map(|name| name.parse().unwrap()).into();
        let surroundings = Surroundings { bridges, bridges_translate: true, ..Surroundings::default() };
        self.host.within(|| {
            let mut seatbelt = Seatbelt::open(TABLE).unwrap();
            seatbelt.apply(&lower(policy, &surroundings)).unwrap();
            seatbelt
        })
    }

    fn publish(&self) {
        let rules = "table inet other {
            chain nat {
                type nat hook prerouting priority dstnat;
                meta nfproto ipv4 tcp dport 8080 dnat ip to 10.0.3.2:11434
                meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd00:3::2]:11434
                meta nfproto ipv4 fib daddr type local tcp dport 11434 iifname eth0 dnat ip to 10.0.3.2:80
                tcp dport 8081 redirect to :11434
            }
        }";
        self.host.nft(rules).unwrap();
    }
}

#[test]
fn a_stranger_reaches_no_guarded_port_and_every_other() {
    let world = World::new();
    open(&world.stranger, "10.0.1.1:11434");
    let mut held = connect(&world.stranger, "10.0.1.1:11434").unwrap();
    let mut seatbelt = world.guard(&support::policy());
    for address in ["10.0.1.1", "[fd00:1::1]", "10.0.2.1", "[fd00:2::1]", "10.0.3.1"] {
        closed(&world.stranger, &format!("{address}:11434"));
        open(&world.stranger, &format!("{address}:80"));
    }
    for address in ["10.0.2.1", "[fd00:2::1]", "10.0.1.1"] {
        open(&world.friend, &format!("{address}:11434"));
        open(&world.host, &format!("{address}:11434"));
    }
    // A connection from before the guard is cut too.
    held.write_all(b"y").unwrap();
    assert!(held.read_exact(&mut [0]).is_err(), "an old connection goes on");
    // Directly to the container's address; and through the host to a machine beyond.
    closed(&world.stranger, "10.0.3.2:11434");
    closed(&world.stranger, "[fd00:3::2]:11434");
    closed(&world.stranger, "10.0.2.2:11434");
    open(&world.stranger, "10.0.3.2:80");

    let status = seatbelt.status().unwrap();
    let on_eth0 = status.dropped_by_interface["prerouting"]["eth0"];
    assert_eq!(on_eth0, status.dropped_by_chain["prerouting"]);
    assert_eq!(on_eth0, status.dropped);
    assert!(on_eth0.packets >= 8);
    assert!(status.counters["prerouting_trusted"].packets > 0);

    // Counters survive a reload that changes the rules.
    let mut policy = support::policy();
    policy.allow = vec![allow("10.0.1.2/32", Some("eth0"), None)];
    let surroundings = Surroundings::default();
    seatbelt.apply(&lower(&policy, &surroundings)).unwrap();
    open(&world.stranger, "10.0.1.1:11434");
    closed(&world.stranger, "[fd00:1::1]:11434");
    let after = seatbelt.status().unwrap();
    assert!(after.dropped.packets > status.dropped.packets);
    assert!(after.counters["prerouting_allowed"].packets > 0);
    world.host.within(|| seatbelt.remove()).unwrap();
    open(&world.stranger, "[fd00:1::1]:11434");
}

#[test]
fn a_port_remapped_after_prerouting_is_closed_too() {
    let world = World::new();
    world.publish();
    for to in ["10.0.1.1:8080", "[fd00:1::1]:8080", "10.0.1.1:8081", "[fd00:1::1]:8081", "10.0.1.1:11434"] {
        open(&world.stranger, to);
    }
    let mut seatbelt = world.guard(&support::policy());
    for to in ["10.0.1.1:8080", "[fd00:1::1]:8080", "10.0.1.1:8081", "[fd00:1::1]:8081", "10.0.1.1:11434"] {
        closed(&world.stranger, to);
    }
    for to in ["10.0.2.1:8080", "[fd00:2::1]:8080", "10.0.2.1:8081", "[fd00:2::1]:8081"] {
        open(&world.friend, to);
    }
    let status = seatbelt.status().unwrap();
    for chain in ["prerouting", "input", "forward"] {
        assert!(status.dropped_by_interface[chain]["eth0"].packets > 0, "{chain}: {status:?}");
    }
}

/// By rules without connection tracking, before our first look and after it, up to the very end.
#[test]
fn a_port_rewritten_in_input_or_forward_is_closed_too() {
    for (input, forward) in [("-150", "-150"), ("10", "10"), ("300", "300"), ("2147483645", "2147483647")] {
        rewritten(input, &format!("forward priority {forward}"));
    }
    // Where what is routed is looked at last.
    rewritten("0", "postrouting priority 50");
}

fn rewritten(input: &str, forward: &str) {
    let world = World::new();
    let rules = format!(
        "table inet other {{
            chain input {{ type filter hook input priority {input}; tcp dport 8082 tcp dport set 11434; }}
            chain output {{ type filter hook output priority 300; oifname {{ eth0, wg0 }} tcp sport 11434 tcp sport set 8082; }}
            chain forward {{ type filter hook {forward}; tcp dport 8083 tcp dport set 11434; }}
            chain back {{
                type filter hook postrouting priority 300;
                ip saddr 10.0.3.2 tcp sport 11434 tcp sport set 8083;
                ip6 saddr fd00:3::2 tcp sport 11434 tcp sport set 8083;
            }}
        }}"
    );
    world.host.nft(&rules).unwrap();
    let rewritten = ["10.0.1.1:8082", "[fd00:1::1]:8082", "10.0.3.2:8083", "[fd00:3::2]:8083"];
    for to in rewritten {
        open(&world.stranger, to);
    }
    let mut seatbelt = world.guard(&support::policy());
    for to in rewritten {
        closed(&world.stranger, to);
        open(&world.friend, &to.replace("10.0.1.1", "10.0.2.1").replace("fd00:1::1", "fd00:2::1"));
    }
    let status = seatbelt.status().unwrap();
    assert_eq!(status.dropped_by_chain["prerouting"].packets, 0, "{status:?}");
    for chain in ["input", "forward"] {
        assert!(status.dropped_by_interface[chain]["eth0"].packets > 0, "{chain}: {status:?}");
    }
}

#[test]
fn forwarded_pass_lets_this_host_route_but_not_to_its_containers() {
    let world = World::new();
    world.publish();
    let _seatbelt = world.guard(&Policy { forwarded: Forwarded::Pass, ..support::policy() });
    open(&world.stranger, "10.0.2.2:11434");
    open(&world.stranger, "[fd00:2::2]:11434");
    closed(&world.stranger, "10.0.1.1:11434");
    closed(&world.stranger, "[fd00:1::1]:11434");
    closed(&world.stranger, "10.0.1.1:8080");
    closed(&world.stranger, "10.0.3.2:11434");
}

#[test]
fn containers_reach_elsewhere_and_the_host_if_allowed() {
    let world = World::new();
    let mut seatbelt = world.guard(&support::policy());
    for to in ["10.0.3.1:11434", "[fd00:3::1]:11434", "10.0.2.1:11434"] {
        closed(&world.container, to);
    }
    open(&world.container, "10.0.3.1:80");
    open(&world.container, "10.0.2.2:11434");
    open(&world.container, "[fd00:2::2]:11434");
    open(&world.host, "10.0.3.2:11434");
    assert!(seatbelt.status().unwrap().dropped_by_interface["prerouting"]["docker0"].packets > 0);
    drop(seatbelt);
    let mut seatbelt = Seatbelt::open(TABLE).unwrap();
    let policy = Policy { container_access: ContainerAccess::Allow, ..support::policy() };
    world.host.within(|| {
        seatbelt = Seatbelt::open(TABLE).unwrap();
        support::eventually(|| seatbelt.apply(&lower(&policy, &Surroundings::default())).is_ok());
    });
    open(&world.container, "10.0.3.1:11434");
    open(&world.container, "[fd00:3::1]:11434");
}

/// An `[[allow]]` opens the host to a container, not one that only the profile implies; each in its place.
#[test]
fn a_container_is_let_in_by_an_allow_that_names_it() {
    let world = World::new();
    let to = ["10.0.3.1:11434", "[fd00:3::1]:11434"];
    let implied = |source| Allow { implied: true, ..allow(source, None, None) };
    let both = [allow("10.0.3.0/24", None, None), allow("fd00:3::/64", Some("docker0"), Some("ollama"))];
    let none = [
        implied("10.0.0.0/8"),
        implied("fc00::/7"),
        allow("10.0.3.0/24", Some("eth0"), None),
        allow("10.0.9.0/24", None, None),
    ];
    let mut seatbelt = world.guard(&Policy { allow: none.to_vec(), ..support::policy() });
    for to in to {
        closed(&world.container, to);
    }
    open(&world.stranger, "10.0.1.1:11434");
    let policy = Policy { allow: both.to_vec(), ..support::policy() };
    world.host.within(|| seatbelt.apply(&lower(&policy, &Surroundings::default())).unwrap());
    for to in to {
        open(&world.container, to);
    }
    closed(&world.stranger, "10.0.1.1:11434");
    let counters = seatbelt.status().unwrap().counters;
    assert!(counters["prerouting_allowed"].packets > 0 && counters["input_allowed"].packets > 0, "{counters:?}");
}

#[test]
fn observe_counts_and_drops_nothing() {
    let world = World::new();
    world.publish();
    world.host.nft("add rule inet other nat udp dport 8084 redirect to :11434").unwrap();
    let mut policy = Policy { mode: Mode::Observe, ..support::policy() };
    policy.services[0].protocols.insert(Protocol::Udp);
    let mut seatbelt = world.guard(&policy);
    for to in ["10.0.1.1:8080", "[fd00:1::1]:8080", "10.0.1.1:8081", "10.0.1.1:11434", "10.0.2.2:11434"] {
        open(&world.stranger, to);
    }
    let status = seatbelt.status().unwrap();
    assert_eq!(status.dropped.packets, 0);
    for chain in ["prerouting", "input", "forward"] {
        assert!(status.would_drop_by_interface[chain]["eth0"].packets > 0, "{chain}");
    }
    // Once, though it is looked at twice.
    let count = |seatbelt: &mut Seatbelt| seatbelt.status().unwrap().would_drop_by_interface["input"]["eth0"].packets;
    let before = count(&mut seatbelt);
    world.stranger.within(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "10.0.1.1:8084").unwrap());
    support::eventually(|| count(&mut seatbelt) == before + 1);
}
