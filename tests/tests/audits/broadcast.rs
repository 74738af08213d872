//! **One datagram to everybody.** A guarded UDP service (discovery, voice, a game server beside the model) hears what is sent
//! to the broadcast address, to a multicast group the host is in, or to 0.0.0.0, which Linux takes for a broadcast. None of
//! those is an address "of this host", so a rule such as `fib daddr type local` lets them through (RFC 919, RFC 1112,
//! RFC 4291 §2.7).

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::Packet;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(broadcast);

const EVERYBODY: [u8; 6] = [0xff; 6];

fn v4(aim: Aim, to: [u8; 4], mac: [u8; 6]) -> Vec<Vec<u8>> {
    vec![Packet { to: mac, ..aim.v4_to(to.into()).udp() }.bytes()]
}

/// To a group; 33:33 begins the MAC address of an IPv6 one (RFC 2464 §7).
fn v6(aim: Aim, group: u16) -> Vec<Vec<u8>> {
    let [high, low] = group.to_be_bytes();
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, group);
    vec![Packet { to: [0x33, 0x33, 0, 0, high, low], ..aim.v6_to(to).udp() }.bytes()]
}

fn broadcast(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("plain", |aim| vec![aim.v4().udp().bytes()]).unanswered(),
        Variant::new("plain, IPv6", |aim| vec![aim.v6().udp().bytes()]).unanswered(),
        Variant::new("255.255.255.255", |aim| v4(aim, [255; 4], EVERYBODY)).unanswered(),
        Variant::new("255.255.255.255 in a frame to this host alone", |aim| v4(aim, [255; 4], aim.v4().to))
            .unanswered(),
        Variant::new("the network's broadcast address", |aim| {
            let [a, b, c, _] = aim.to.v4.octets();
            v4(aim, [a, b, c, 255], EVERYBODY)
        })
        .unanswered(),
        Variant::new("another network's broadcast address", |aim| v4(aim, [10, 77, 0, 255], aim.v4().to)).unanswered(),
        Variant::new("all hosts", |aim| v4(aim, [224, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1])).unanswered(),
        Variant::new("all hosts, in a frame to this host alone", |aim| v4(aim, [224, 0, 0, 1], aim.v4().to))
            .unanswered(),
        Variant::new("all nodes, IPv6", |aim| v6(aim, 1)).unanswered(),
        Variant::new("from and to 0.0.0.0, as before DHCP", |aim| {
            let nobody = aim.v4_to(Ipv4Addr::UNSPECIFIED).udp();
            let nobody = nobody.with_v4(|header| header.source = Ipv4Addr::UNSPECIFIED);
            vec![Packet { to: EVERYBODY, ..nobody }.bytes()]
        })
        .unanswered(),
    ])
    .udp()
    .after("address replace 10.77.0.1/24 dev INTERFACE")
    .run(layers)
}
