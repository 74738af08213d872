//! **Another of the host's addresses.** Ollama is bound to the VPN address only, so that the LAN cannot reach it, or so its
//! owner thinks. Linux accepts a packet for any of its addresses on any of its interfaces (the "weak host model", RFC 1122
//! §3.3.4.2): a neighbor who sends a packet for the VPN address to the host's MAC address is answered. CVE-2019-14899 found VPN
//! clients by this. The same goes for link-local, secondary and anycast addresses. The suite `reach` tries it by HTTP,
//! with a real `WireGuard` interface.

use anyhow::Result;
use tests::layers::Layers;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Frames, Variant};

audits!(addresses);

fn addresses(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("the other interface's IPv4 address", |aim| {
            let other = if aim.to.v4.octets()[0] == 192 { [203, 0, 113, 1] } else { [192, 168, 77, 1] };
            vec![aim.v4_to(other.into()).bytes()]
        }),
        Variant::new("an address of the VPN", |aim| vec![aim.v4_to([10, 9, 0, 1].into()).bytes()]),
        Variant::new("an IPv6 address of the VPN", |aim| vec![aim.v6_to([0xfd09, 0, 0, 0, 0, 0, 0, 1].into()).bytes()]),
        Variant::new("a link-local address", |aim| vec![aim.v6_to([0xfe80, 0, 0, 0, 0, 0, 0, 0x77].into()).bytes()]),
        Variant::new("an address on loopback that is not 127.0.0.1", |aim| {
            vec![aim.v4_to([192, 0, 2, 1].into()).bytes()]
        }),
        Variant::new("an address of a whole local network", |aim| vec![aim.v4_to([198, 18, 7, 7].into()).bytes()]),
        Variant::new("the anycast address of routers (RFC 4291 §2.6.1)", |aim| {
            let mut segments = aim.to.v6.segments();
            segments[7] = 0;
            vec![aim.v6_to(segments.into()).bytes()]
        })
        .unanswered(),
    ])
    .with(&[("net.ipv6.conf.all.forwarding", "1")])
    // What stands for the VPN is up and has the address: Linux does not ask what kind of device it is.
    .after(
        "address replace 192.0.2.1/32 dev lo\n\
         address replace 10.9.0.1/32 dev lo\n\
         address replace fd09::1/128 dev lo nodad\n\
         address add fe80::77/64 dev INTERFACE nodad\n\
         route replace local 198.18.0.0/15 dev lo",
    )
    .run(layers)
}
