//! Real packets over a bridge: what is bridged is left alone, what is routed or translated is judged.

use std::net::UdpSocket;

use ollama_guard::policy::*;
use ollama_guard::seatbelt::{Seatbelt, TABLE};

use crate::packets::{GUARDED, WAIT, World, address, closed, open};
use crate::support::{self, Netns};

#[test]
fn traffic_inside_one_bridge_is_untouched_with_br_netfilter_on_and_off() {
    let world = World::new();
    let [left, right] = &world.bridged;
    for policy in [support::policy(), Policy { forwarded: Forwarded::Pass, ..support::policy() }] {
        let mut policy = policy;
        policy.services[0].protocols.insert(Protocol::Udp);
        for on in ["0", "1"] {
            for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
                world.host.sysctl(&format!("net.bridge.{key}"), on);
            }
            let mut seatbelt = world.host.within(|| Seatbelt::open(TABLE).unwrap());
            seatbelt.remove().unwrap();
            drop(seatbelt);
            let mut seatbelt = world.guard(&policy);
            open(left, "10.0.4.3:11434");
            open(left, "[fd00:4::3]:11434");
            assert_eq!(seatbelt.status().unwrap().dropped.packets, 0, "br_netfilter {on}");

            // A broadcast reaches the neighbor, not the host.
            let hears = |at: &Netns| {
                at.within(|| {
                    let socket = UdpSocket::bind(("0.0.0.0", GUARDED)).unwrap();
                    socket.set_read_timeout(Some(WAIT)).unwrap();
                    socket
                })
            };
            let (neighbour, host) = (hears(right), hears(&world.host));
            left.within(|| {
                let socket = UdpSocket::bind("10.0.4.2:0").unwrap();
                socket.set_broadcast(true).unwrap();
                socket.send_to(b"x", ("10.0.4.255", GUARDED)).unwrap();
            });
            assert!(neighbour.recv(&mut [0]).is_ok(), "br_netfilter {on}: a broadcast inside the bridge was dropped");
            assert!(host.recv(&mut [0]).is_err(), "br_netfilter {on}: the host heard a broadcast");

            // To the host, by any of its addresses, and onward through it.
            for to in ["10.0.4.1:11434", "[fd00:4::1]:11434", "10.0.2.1:11434"] {
                closed(left, to);
            }
            if policy.forwarded == Forwarded::Drop {
                closed(left, "10.0.2.2:11434");
            } else {
                open(left, "10.0.2.2:11434");
            }
            closed(left, "10.0.3.2:11434");
            open(left, "10.0.4.1:80");
            assert!(seatbelt.status().unwrap().dropped.packets > 0);
            world.host.within(|| seatbelt.remove()).unwrap();
        }
    }
}

/// What the host routes between two networks on one bridge, and what it translates there, is no bridged frame.
#[test]
fn what_is_routed_or_translated_inside_one_bridge_is_judged() {
    for (netfilter, forwarded) in
        [("0", Forwarded::Drop), ("1", Forwarded::Drop), ("0", Forwarded::Pass), ("1", Forwarded::Pass)]
    {
        let world = World::new();
        let [left, right] = &world.bridged;
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            world.host.sysctl(&format!("net.bridge.{key}"), netfilter);
        }
        world.host.sysctl("net.ipv4.conf.all.send_redirects", "0");
        world.host.sysctl("net.ipv4.conf.vmbr0.send_redirects", "0");
        for (end, key) in [left, right].into_iter().zip(["net.ipv6.conf.up0.accept_redirects"; 2]) {
            end.sysctl(key, "0");
        }
        // Another network behind the same bridge; its owner is a neighbor of `left`, too.
        address(&world.host, "vmbr0", 5);
        right.ip("addr add 10.0.5.3/24 dev up0");
        right.ip("addr add fd00:5::3/64 dev up0 nodad");
        right.ip("route replace default via 10.0.5.1");
        right.ip("route replace default via fd00:5::1");
        let rules = "table inet other {
            chain nat {
                type nat hook prerouting priority dstnat;
                meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.0.5.3:11434
                meta nfproto ipv6 fib daddr type local tcp dport 8080 dnat ip6 to [fd00:5::3]:11434
            }
            chain back { type nat hook postrouting priority srcnat; ct status dnat oifname vmbr0 masquerade; }
        }";
        world.host.nft(rules).unwrap();
        let ways = ["10.0.4.1:8080", "[fd00:4::1]:8080", "10.0.5.3:11434", "[fd00:5::3]:11434"];
        for to in ways {
            open(left, to);
        }
        let policy = Policy { forwarded, ..support::policy() };
        let mut seatbelt = world.guard(&policy);
        for to in ways {
            if forwarded == Forwarded::Pass { open(left, to) } else { closed(left, to) }
        }
        for to in ["10.0.4.3:11434", "[fd00:4::3]:11434"] {
            open(left, to);
        }
        for to in ["10.0.2.1:8080", "[fd00:2::1]:8080", "10.0.5.3:11434", "[fd00:5::3]:11434"] {
            open(&world.friend, to);
        }
        let dropped = seatbelt.status().unwrap().dropped_by_interface["forward"].contains_key("vmbr0");
        assert_eq!(dropped, forwarded == Forwarded::Drop, "br_netfilter {netfilter}");
    }
}
