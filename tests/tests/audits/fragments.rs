//! **Fragments.** IP may cut a packet so that no piece of it looks like what the whole is: the first one tiny, so that the
//! flags or even the ports are in the second (RFC 1858, RFC 3128); in reverse order; overlapping, so that a later piece
//! overwrites what the filter has read (RFC 5722; the kernel drops those since CVE-2018-5391); by IPv6 also a lone "atomic" one
//! (RFC 6946) and a first one that ends before TCP begins (RFC 7112). Pieces that are not the first hold no port and are let
//! through: without the first they never become a packet, which is seen here end to end.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, Extension, Fragment, Packet};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(fragments, defragmented);

/// Connection tracking, which puts fragments together before any rule sees them (`nf_defrag_ipv4`, `nf_defrag_ipv6`).
const TRACKED: &str = "table inet theirs { chain input { type filter hook input priority 0; ct state new accept; }; }";

/// A piece of the TCP segment: from where to where, in bytes; the last one has no more after it.
type Piece = (usize, usize);

/// A SYN with 24 bytes of payload (44 bytes in all) in pieces, by IPv4.
fn v4(aim: Aim, pieces: &[Piece]) -> Vec<Vec<u8>> {
    let whole = Packet { payload: 24, ..aim.v4() };
    let tcp = whole.ip().split_off(20);
    let piece = |&(from, to): &Piece| {
        let fragment = Fragment { offset: u16::try_from(from / 8).unwrap_or_default(), more: to < tcp.len() };
        carrying(&whole.clone().with_v4(|header| header.fragment = fragment), 20, aim.mark, &tcp[from..to])
    };
    pieces.iter().map(piece).collect()
}

/// The same by IPv6, behind `extra` headers that are part of what is cut.
fn v6(aim: Aim, extra: &[Extension], pieces: &[Piece]) -> Vec<Vec<u8>> {
    let whole = Packet { payload: 24, ..aim.v6().behind(extra) };
    let inside = whole.ip().split_off(40);
    let piece = |&(from, to): &Piece| {
        let fragment = Fragment { offset: u16::try_from(from / 8).unwrap_or_default(), more: to < inside.len() };
        let chain: Vec<_> = [Extension::Fragment(fragment)].into_iter().chain(extra.iter().copied()).collect();
        carrying(&whole.clone().behind(&chain), 48, aim.mark, &inside[from..to])
    };
    pieces.iter().map(piece).collect()
}

/// The frame of a packet with its headers up to `headers` bytes, then this.
fn carrying(packet: &Packet, headers: usize, id: u16, inside: &[u8]) -> Vec<u8> {
    let mut frame = packet.bytes();
    frame.truncate(ETHERNET + headers);
    frame.extend(inside);
    let length = |taken: usize| u16::try_from(inside.len() + taken).unwrap_or_default().to_be_bytes();
    if headers == 20 {
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length(20));
        frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&id.to_be_bytes());
        tests::packet::seal_v4(&mut frame[ETHERNET..]);
    } else {
        frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length(8));
        frame[ETHERNET + 46..ETHERNET + 48].copy_from_slice(&id.to_be_bytes());
    }
    frame
}

fn fragments(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(variants()).run(layers)
}

fn defragmented(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(variants()).beside(TRACKED).run(layers)
}

fn variants() -> Vec<Variant> {
    vec![
        Variant::new("two pieces", |aim| v4(aim, &[(0, 24), (24, 44)])),
        Variant::new("a tiny first piece: the flags are in the second", |aim| v4(aim, &[(0, 8), (8, 44)])),
        Variant::new("every piece tiny", |aim| v4(aim, &[(0, 8), (8, 16), (16, 24), (24, 32), (32, 44)])),
        Variant::new("in reverse order", |aim| v4(aim, &[(24, 44), (8, 24), (0, 8)])),
        Variant::new("the same piece twice", |aim| v4(aim, &[(0, 24), (0, 24), (24, 44)])),
        Variant::new("overlapping pieces", |aim| v4(aim, &[(0, 24), (16, 44)]))
            .refused_by_the_kernel("inet_frag_queue_insert: an overlap discards the whole"),
        Variant::new("only the first piece", |aim| v4(aim, &[(0, 24)])).refused_by_the_kernel("never complete"),
        Variant::new("only later pieces", |aim| v4(aim, &[(8, 24), (24, 44)])).refused_by_the_kernel("never complete"),
        Variant::new("IPv6, two pieces", |aim| v6(aim, &[], &[(0, 24), (24, 44)])),
        Variant::new("IPv6, in reverse order", |aim| v6(aim, &[], &[(24, 44), (0, 24)])),
        Variant::new("IPv6, atomic", |aim| vec![aim.v6().behind(&[Extension::Fragment(Fragment::WHOLE)]).bytes()]),
        Variant::new("IPv6, overlapping pieces", |aim| v6(aim, &[], &[(0, 24), (16, 44)]))
            .refused_by_the_kernel("RFC 5722"),
        Variant::new("IPv6, options in the first piece too", |aim| {
            v6(aim, &[Extension::Destination(0)], &[(0, 32), (32, 52)])
        }),
        Variant::new("IPv6, a first piece that ends after the ports", |aim| v6(aim, &[], &[(0, 8), (8, 44)]))
            .refused_by_the_kernel("ipv6frag_thdr_truncated: a first piece holds the whole TCP header (RFC 8200 §4.5)"),
        Variant::new("IPv6, a first piece that ends before TCP", |aim| {
            v6(aim, &[Extension::Destination(0)], &[(0, 8), (8, 52)])
        })
        .refused_by_the_kernel("ipv6frag_thdr_truncated"),
        Variant::new("IPv6, only later pieces", |aim| v6(aim, &[], &[(24, 32), (32, 44)]))
            .refused_by_the_kernel("never complete"),
        Variant::new("IPv6, a later piece inside a first one", |aim| {
            let later = Extension::Fragment(Fragment { offset: 1, more: false });
            let first = Extension::Fragment(Fragment::FIRST);
            vec![aim.v6().behind(&[first, later]).bytes()]
        })
        .refused_by_the_kernel("never complete"),
    ]
}
