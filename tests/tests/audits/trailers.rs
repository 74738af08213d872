//! **Bytes behind the packet.** A frame may be longer than the packet in it: switches pad short ones, and the IP header says
//! where the packet ends. The kernel cuts the rest off before anybody reads (`ip_rcv_core`, `ip6_rcv_core`). A filter that reads
//! on takes padding for headers: a first fragment that ends with its options seems to go on with a harmless port, while
//! the next fragment brings the real one. Every read ends where the packet does; what is cut off is taken for hidden. A
//! packet of length 0 is a jumbogram (RFC 2675) and goes as far as its frame: Linux takes one that is none, too.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{ETHERNET, Extension, Packet, Tag, Transport, seal_v4};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(trailers, defragmented);

/// Connection tracking, which puts fragments together before any rule sees them.
const TRACKED: &str = "table inet theirs { chain input { type filter hook input priority 0; ct state new accept; }; }";

const OPTIONS: Extension = Extension::Destination(0);

/// What looks like destination options and a SYN to port 80: where the filter should stop.
const DECOY: [u8; 28] =
    [6, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];

/// A SYN by IPv6 behind these headers in two fragments, the first of them with so many bytes, and this behind each.
fn split(aim: Aim, chain: &[Extension], taken: usize, trailer: &[u8]) -> Vec<Vec<u8>> {
    aim.v6().behind(chain).split(&[taken], aim.mark, trailer)
}

fn padded(packet: Packet, trailer: &[u8]) -> Vec<Vec<u8>> {
    vec![packet.trailed_by(trailer).bytes()]
}

fn variants() -> Vec<Variant> {
    vec![
        Variant::new("options, then padding that looks like options and a port", |aim| {
            split(aim, &[OPTIONS, OPTIONS], 8, &DECOY)
        })
        .hides_its_port_from_rules_too(),
        Variant::new("options, then more padding than packet", |aim| {
            // In the padding the number of the options is that of the port's protocol.
            split(aim, &[OPTIONS, OPTIONS], 8, &[DECOY.as_slice(), &DECOY].concat())
        })
        .hides_its_port_from_rules_too(),
        Variant::new("the same, the other fragment first", |aim| {
            let mut frames = split(aim, &[OPTIONS, OPTIONS], 8, &DECOY);
            frames.reverse();
            frames
        })
        .hides_its_port_from_rules_too(),
        Variant::new("options that begin in one fragment and end in the other", |aim| {
            split(aim, &[Extension::Destination(1)], 8, &[&[0; 8], &DECOY[8..]].concat())
        })
        .refused_by_some_kernels("ipv6frag_thdr_truncated asks for what is behind options that are cut off"),
        Variant::new("three headers, two in the first fragment", |aim| split(aim, &[OPTIONS; 3], 16, &DECOY))
            .hides_its_port_from_rules_too(),
        Variant::new("a whole SYN, padded", |aim| padded(aim.v4(), &[0; 6])),
        Variant::new("a whole SYN and another one behind it", |aim| {
            padded(aim.v4(), &Packet { transport: Transport::tcp(80), ..aim.v4() }.ip())
        }),
        Variant::new("IPv6, a whole SYN, padded", |aim| padded(aim.v6(), &[0; 46])),
        Variant::new("IPv6, behind options, padded", |aim| padded(aim.v6().behind(&[OPTIONS]), &DECOY)),
        Variant::new("behind a priority tag, padded", |aim| padded(aim.v4().tagged(&[Tag::priority(1)]), &[0; 6])),
        Variant::new("IPv4, two fragments, both padded", |aim| {
            Packet { payload: 24, ..aim.v4() }.split(&[8], aim.mark, &DECOY)
        }),
        Variant::new("IPv6, a length of 0 without a jumbogram's option", |aim| {
            vec![aim.v6().behind(&[Extension::HopByHop(0)]).claiming(0).bytes()]
        }),
        Variant::new("a length that leaves out the ports", |aim| {
            let mut frame = aim.v4().claiming(22).bytes();
            seal_v4(&mut frame[ETHERNET..]);
            vec![frame]
        })
        .refused_by_the_kernel("tcp_v4_rcv"),
        Variant::new("IPv6, a length that leaves out the ports", |aim| vec![aim.v6().claiming(2).bytes()])
            .refused_by_the_kernel("tcp_v6_rcv"),
        Variant::new("IPv6, a length that leaves out options", |aim| {
            vec![aim.v6().behind(&[OPTIONS]).claiming(8).bytes()]
        })
        .refused_by_the_kernel("tcp_v6_rcv"),
    ]
}

fn trailers(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(variants()).run(layers)
}

fn defragmented(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(variants()).beside(TRACKED).run(layers)
}
