//! **IPv4 options.** An option in the IP header moves the TCP header by up to 40 bytes (RFC 791 §3.1). A filter that expects
//! TCP at byte 20 reads the option instead and sees no port it knows; several published XDP firewalls do. A source route
//! (RFC 791 LSRR, SSRR) moreover names the way back, and a router alert (RFC 2113) makes routers look at the packet.
//! Hosts refuse source routes by default (RFC 7126 §4.3); this one takes them.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, seal_v4};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(v4_options);

/// A SYN with these options, which fill words of four bytes.
fn with(aim: Aim, options: &[u8]) -> Vec<Vec<u8>> {
    assert!(options.len().is_multiple_of(4));
    let words = u8::try_from(options.len() / 4).expect("at most 40 bytes");
    let mut frame = aim.v4().with_v4(|header| header.options = words).bytes();
    frame[ETHERNET + 20..ETHERNET + 20 + options.len()].copy_from_slice(options);
    seal_v4(&mut frame[ETHERNET..]);
    vec![frame]
}

/// A source route of this kind, over the host's own address.
fn source_route(aim: Aim, kind: u8, pointer: u8) -> Vec<Vec<u8>> {
    let [a, b, c, d] = aim.to.v4.octets();
    with(aim, &[kind, 7, pointer, a, b, c, d, 0])
}

fn v4_options(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    // An answer to a source route goes back by it, which here leads nowhere.
    Frames::new(vec![
        Variant::new("no operation", |aim| with(aim, &[1; 4])),
        Variant::new("40 bytes of no operation", |aim| with(aim, &[1; 40])),
        Variant::new("end of options", |aim| with(aim, &[0; 8])),
        Variant::new("router alert", |aim| with(aim, &[0x94, 4, 0, 0])),
        Variant::new("record route", |aim| with(aim, &[7, 7, 4, 0, 0, 0, 0, 0])),
        Variant::new("time stamps", |aim| with(aim, &[0x44, 8, 5, 0, 0, 0, 0, 0])),
        Variant::new("options that look like a TCP header to port 80", |aim| with(aim, &[0x9e, 4, 0, 80])),
        Variant::new("loose source route, used up", |aim| source_route(aim, 0x83, 8)).unanswered(),
        Variant::new("strict source route, used up", |aim| source_route(aim, 0x89, 8)).unanswered(),
        Variant::new("loose source route, one hop left: this host", |aim| source_route(aim, 0x83, 4)),
        Variant::new("an option longer than the header", |aim| with(aim, &[7, 39, 4, 0]))
            .refused_by_the_kernel("ip_options_compile"),
    ])
    .with(&[("net.ipv4.conf.all.accept_source_route", "1"), ("net.ipv4.conf.INTERFACE.accept_source_route", "1")])
    .run(layers)
}
