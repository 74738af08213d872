//! **IPv4 addresses written as IPv6 ones.** `::ffff:203.0.113.1` means an IPv4 address to a program's socket (RFC 4291
//! §2.5.5.2), and 6to4, NAT64 and ISATAP hide one in others. A filter with an IPv4 list might take such a packet for
//! something else, and a socket that listens on `[::]` takes both families. In a packet the kernel knows them for nothing
//! of its own.

use std::net::Ipv6Addr;

use anyhow::Result;
use tests::layers::Layers;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(mapped);

/// A SYN to an address that ends in the host's IPv4 address, or holds it after `at` 16-bit groups.
fn to(aim: Aim, mut groups: [u16; 8], at: usize) -> Vec<Vec<u8>> {
    let [a, b, c, d] = aim.to.v4.octets();
    groups[at] = u16::from_be_bytes([a, b]);
    groups[at + 1] = u16::from_be_bytes([c, d]);
    vec![aim.v6_to(Ipv6Addr::from(groups)).bytes()]
}

fn mapped(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let refused = |name, frames| Variant::new(name, frames).refused_by_the_kernel("no such address here");
    Frames::new(vec![
        refused("v4-mapped", |aim| to(aim, [0, 0, 0, 0, 0, 0xffff, 0, 0], 6)),
        refused("v4-compatible", |aim| to(aim, [0; 8], 6)),
        refused("NAT64", |aim| to(aim, [0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 6)),
        refused("6to4", |aim| to(aim, [0x2002, 0, 0, 0, 0, 0, 0, 1], 1)),
        refused("loopback", |aim| vec![aim.v6_to(Ipv6Addr::LOCALHOST).bytes()]),
        refused("no address", |aim| vec![aim.v6_to(Ipv6Addr::UNSPECIFIED).bytes()]),
    ])
    .run(layers)
}
