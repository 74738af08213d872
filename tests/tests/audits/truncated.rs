//! **Headers cut off.** A packet that ends in the middle of a header gives a filter nothing to match; one whose length field
//! disagrees with its frame may be read differently by filter and kernel (Ptacek & Newsham, "Insertion, Evasion and Denial of
//! Service", 1998). Linux refuses all of these by itself; the guard, which reads them first, must neither stumble nor
//! let them revive.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, seal_v4};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(truncated);

/// The first bytes of an IPv4 packet, with its length field as it was.
fn cut(aim: Aim, bytes: usize) -> Vec<Vec<u8>> {
    vec![aim.v4().bytes()[..ETHERNET + bytes].to_vec()]
}

/// A whole packet that claims to be shorter or longer than it is.
fn claims(aim: Aim, length: u16) -> Vec<Vec<u8>> {
    let mut frame = aim.v4().bytes();
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length.to_be_bytes());
    seal_v4(&mut frame[ETHERNET..]);
    vec![frame]
}

/// The same by IPv6, where the field counts what follows the header.
fn claims_v6(aim: Aim, length: u16) -> Vec<Vec<u8>> {
    let mut frame = aim.v6().bytes();
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    vec![frame]
}

fn truncated(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let refused =
        |name, frames| Variant::new(name, frames).refused_by_the_kernel("ip_rcv_core, ip6_rcv_core, tcp_v4_rcv");
    Frames::new(vec![
        refused("no IP header", |aim| cut(aim, 0)),
        refused("half an IP header", |aim| cut(aim, 10)),
        refused("no TCP header", |aim| cut(aim, 20)),
        refused("one port", |aim| cut(aim, 22)),
        refused("half a TCP header", |aim| cut(aim, 30)),
        refused("shorter than its IP header says", |aim| claims(aim, 400)),
        refused("an IP header longer than the packet says", |aim| claims(aim, 10)),
        refused("IPv6, shorter than its header says", |aim| claims_v6(aim, 400)),
        refused("IPv6 of length 0, which announces a jumbogram that is none", |aim| claims_v6(aim, 0)),
        refused("the version is not the EtherType's", |aim| {
            let mut frame = aim.v4().bytes();
            frame[ETHERNET] = 0x65;
            vec![frame]
        }),
        refused("ends with the ports, or says so", |aim| claims(aim, 24)),
    ])
    .run(layers)
}
