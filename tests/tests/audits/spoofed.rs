//! **A forged source address.** "Allow 10.0.0.0/8" and "allow the VPN's range" trust what a packet says of itself, and
//! anybody may write anything there (RFC 2827). Whoever shares a link may even read the answers. The guard asks where
//! the packet arrived.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::Network;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(spoofed);

fn v4(aim: Aim, source: [u8; 4]) -> Vec<Vec<u8>> {
    vec![aim.v4().with_v4(|header| header.source = Ipv4Addr::from(source)).bytes()]
}

fn v6(aim: Aim, source: Ipv6Addr) -> Vec<Vec<u8>> {
    let mut packet = aim.v6();
    if let Network::V6(header) = &mut packet.network {
        header.source = source;
    }
    vec![packet.bytes()]
}

fn spoofed(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        // The answers go to whom the address belongs to.
        Variant::new("somebody in the VPN", |aim| v4(aim, [10, 9, 0, 2])).unanswered(),
        Variant::new("somebody on the LAN, or on the internet", |aim| v4(aim, [172, 16, 5, 5])).unanswered(),
        Variant::new("Tailscale's range", |aim| v4(aim, [100, 64, 0, 7])).unanswered(),
        Variant::new("a private IPv6 address", |aim| v6(aim, Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2))).unanswered(),
        Variant::new("a v4-mapped address (RFC 4291 §2.5.5.2)", |aim| {
            v6(aim, Ipv4Addr::new(10, 9, 0, 2).to_ipv6_mapped())
        })
        .refused_by_some_kernels("from 5.10 on: CVE-2020-27152 and its like"),
        Variant::new("the host itself", |aim| v4(aim, aim.to.v4.octets())).refused_by_the_kernel("a martian"),
        Variant::new("the host itself, IPv6", |aim| v6(aim, aim.to.v6)).refused_by_some_kernels("it varies"),
        Variant::new("loopback", |aim| v4(aim, [127, 0, 0, 1])).refused_by_the_kernel("a martian"),
        Variant::new("loopback, IPv6", |aim| v6(aim, Ipv6Addr::LOCALHOST))
            .refused_by_the_kernel("ip6_rcv_core: RFC 4291 §2.5.3"),
    ])
    .with(&[("net.ipv4.conf.all.rp_filter", "0"), ("net.ipv4.conf.INTERFACE.rp_filter", "0")])
    .run(layers)
}
