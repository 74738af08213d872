//! **An IPv6 packet inside a segment routing header.** A host with `seg6_enabled` unwraps a packet for itself whose segment
//! routing header (RFC 8754) is followed by another IP header, and takes the inner packet as if it had just arrived on the
//! same interface (`ipv6_srh_rcv`, `net/ipv6/exthdrs.c`). A filter in the driver has passed the outer packet by then and never
//! sees the inner one. TC and generic XDP do, but behind the outer headers, where they look for it in vain. The guard takes
//! such a packet for one that hides its port. The setting is off by default; the same goes for `rpl_seg_enabled` (RFC 6554).

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, Extension, Packet, Transport};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(segment_routing);

/// IPv6 and IPv4 in IP.
const IPV6: u8 = 41;
const IPV4: u8 = 4;

/// This packet, from its IP header on, behind a segment routing header with no segments left.
fn inside(aim: Aim, number: u8, inner: &Packet) -> Vec<Vec<u8>> {
    let outer = aim.v6().behind(&[Extension::Routing(2)]);
    let ip = inner.ip();
    let mut frame = Packet { transport: Transport::Other(number, [0, 0]), ..outer }.bytes();
    frame.truncate(frame.len() - 4);
    frame.extend(&ip);
    let length = u16::try_from(frame.len() - ETHERNET - 40).unwrap_or_default();
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    vec![frame]
}

fn segment_routing(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("IPv6 inside", |aim| inside(aim, IPV6, &aim.v6())).hides_its_port(),
        Variant::new("IPv4 inside", |aim| inside(aim, IPV4, &aim.v4())).hides_its_port(),
    ])
    .with(&[("net.ipv6.conf.all.seg6_enabled", "1"), ("net.ipv6.conf.INTERFACE.seg6_enabled", "1")])
    .run(layers)
}
