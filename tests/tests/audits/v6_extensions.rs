//! **IPv6 extension headers.** Any number of headers may stand between the IPv6 header and TCP (RFC 8200 §4), and hosts
//! must take them in any order. A filter that looks for TCP right behind byte 40 misses the port; RFC 7045 and RFC 9098 tell
//! how firewalls fail here, and tools such as `thc-ipv6` send just that. Linux answers a SYN behind 40 of them.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, Extension, Fragment};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(v6_extensions);

const HOP: Extension = Extension::HopByHop(0);
const OPTIONS: Extension = Extension::Destination(0);
const ATOMIC: Extension = Extension::Fragment(Fragment::WHOLE);

/// A SYN behind these headers.
fn behind(aim: Aim, chain: &[Extension]) -> Vec<Vec<u8>> {
    vec![aim.v6().behind(chain).bytes()]
}

/// A SYN behind 248 bytes of options, all of them one that hosts skip (RFC 8200 §4.2).
fn long(aim: Aim) -> Vec<Vec<u8>> {
    let mut frame = aim.v6().behind(&[Extension::Destination(30)]).bytes();
    frame[ETHERNET + 42..ETHERNET + 44].copy_from_slice(&[0x1e, 244]);
    vec![frame]
}

/// A SYN behind a routing header of this type, with no segments left.
fn routed(aim: Aim, kind: u8) -> Vec<Vec<u8>> {
    let mut frame = aim.v6().behind(&[Extension::Routing(2)]).bytes();
    frame[ETHERNET + 40 + 2] = kind;
    vec![frame]
}

/// A SYN behind a hop-by-hop header with a router alert (RFC 2711).
fn alert(aim: Aim) -> Vec<Vec<u8>> {
    let mut frame = aim.v6().behind(&[HOP]).bytes();
    frame[ETHERNET + 40 + 2..ETHERNET + 48].copy_from_slice(&[5, 2, 0, 0, 1, 0]);
    vec![frame]
}

fn v6_extensions(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("hop-by-hop options", |aim| behind(aim, &[HOP])),
        Variant::new("router alert", alert),
        Variant::new("destination options", |aim| behind(aim, &[OPTIONS])),
        Variant::new("long destination options", long),
        Variant::new("routing type 0", |aim| routed(aim, 0)),
        Variant::new("routing type 2", |aim| routed(aim, 2)).refused_by_some_kernels("those with Mobile IPv6"),
        Variant::new("segment routing", |aim| routed(aim, 4)),
        Variant::new("atomic fragment", |aim| behind(aim, &[ATOMIC])),
        Variant::new("authentication", |aim| behind(aim, &[Extension::Authentication(3)]))
            .refused_by_the_kernel("no security association"),
        Variant::new("a chain of every kind", |aim| {
            behind(aim, &[HOP, OPTIONS, Extension::Routing(2), ATOMIC, OPTIONS])
        }),
        Variant::new("8 headers", |aim| behind(aim, &[OPTIONS; 8])),
        Variant::new("9 headers", |aim| behind(aim, &[OPTIONS; 9])).hides_its_port(),
        Variant::new("40 headers", |aim| behind(aim, &[OPTIONS; 40])).hides_its_port(),
        Variant::new("hop-by-hop options that are not the first", |aim| behind(aim, &[OPTIONS, HOP]))
            .refused_by_the_kernel("RFC 8200 §4.1"),
        Variant::new("atomic fragments, nested", |aim| behind(aim, &[ATOMIC, ATOMIC]))
            .refused_by_the_kernel("ipv6_frag_rcv: one fragment header"),
    ])
    .with(&[("net.ipv6.conf.all.seg6_enabled", "1"), ("net.ipv6.conf.INTERFACE.seg6_enabled", "1")])
    .run(layers)
}
