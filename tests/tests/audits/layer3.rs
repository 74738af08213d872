//! **Through a layer-3 device.** What comes out of a tunnel without Ethernet (GRE, tun) may call itself a VLAN's: the kernel takes
//! such tags off on any device (`__netif_receive_skb_core`, `skb_vlan_untag`), the first of them before a filter at TC sees the
//! packet, the others behind it. A filter for such devices that expects IP finds tags and lets them pass. And padding
//! behind the packet is there as on a wire: see `trailers`.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::packet::{ETHERNET, Extension, Network, Packet, Tag, V4, V6};
use tests::topology::World;
use tests::tun::Tun;
use tests::{require, requires, wait};

use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(layer3);

/// From whom a port is hidden.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    No,
    FromPrograms,
    FromRulesToo,
}

/// What is done to a packet, and from whom that hides its port.
type Case = (&'static str, fn(Packet, u16) -> Vec<Vec<u8>>, Hidden);

const OUTER: Tag = Tag { kind: 0x88a8, priority: 0, vlan: 0 };
const OPTIONS: Extension = Extension::Destination(0);
/// What looks like destination options and a SYN to port 80.
const DECOY: [u8; 24] = [6, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0];

fn tagged(packet: Packet, tags: &[Tag]) -> Vec<Vec<u8>> {
    vec![packet.tagged(tags).bytes()]
}

const CASES: [Case; 8] = [
    ("as it is", |packet, _| tagged(packet, &[]), Hidden::No),
    ("a tag", |packet, _| tagged(packet, &[Tag::priority(0)]), Hidden::No),
    ("two tags", |packet, _| tagged(packet, &[Tag::priority(0); 2]), Hidden::No),
    ("802.1ad, then 802.1Q", |packet, _| tagged(packet, &[OUTER, Tag::priority(3)]), Hidden::No),
    ("four tags", |packet, _| tagged(packet, &[Tag::priority(0); 4]), Hidden::No),
    ("seven tags", |packet, _| tagged(packet, &[Tag::priority(0); 7]), Hidden::FromPrograms),
    ("padded", |packet, _| vec![packet.trailed_by(&DECOY).bytes()], Hidden::No),
    ("a first fragment that ends with its options, padded", padded_fragment, Hidden::FromRulesToo),
];

/// IPv4 has none.
fn padded_fragment(packet: Packet, id: u16) -> Vec<Vec<u8>> {
    if packet.network.size() == 40 { packet.behind(&[OPTIONS, OPTIONS]).split(&[8], id, &DECOY) } else { Vec::new() }
}

/// A packet of each family from the device's other end.
fn syn(port: u16, mark: u16) -> Result<[Packet; 2]> {
    let v4 = Network::V4(V4::new("10.66.0.2".parse()?, "10.66.0.1".parse()?));
    let v6 = Network::V6(V6::new("fd66::2".parse()?, "fd66::1".parse()?));
    Ok([
        Packet { network: v4, ..Packet::v4(port) }.sent_from(mark),
        Packet { network: v6, ..Packet::v6(port) }.sent_from(mark + 1),
    ])
}

fn layer3(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let tun = Tun::create(&world.guard, "tun0")?;
    world.guard.ip("link set tun0 up\naddress add 10.66.0.1/24 dev tun0\naddress add fd66::1/64 dev tun0 nodad")?;
    world.guard.takes("fd66::1".parse()?)?;
    let listeners = [Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?];
    let see = |whom: &str, port: u16, first: u16, expected: &dyn Fn(Hidden) -> bool| -> Result<()> {
        let mut sent = Vec::new();
        for ((name, frames, hides), mark) in CASES.into_iter().zip((first..).step_by(2)) {
            for (packet, mark) in syn(port, mark)?.into_iter().zip(mark..) {
                let frames = frames(packet, mark);
                for frame in &frames {
                    tun.send(u16::from_be_bytes([frame[12], frame[13]]), &frame[ETHERNET..])?;
                }
                if !frames.is_empty() {
                    sent.push((name, mark, expected(hides)));
                }
            }
        }
        let [last, _] = syn(OTHER, first + 100)?;
        tun.send(0x0800, &last.ip())?;
        wait::until("the last packet", Duration::from_secs(5), || {
            listeners[1].witness.seen().iter().any(|packet| packet.ports[0] == first + 100)
        })?;
        for listener in &listeners {
            listener.settle(&world.guard)?;
        }
        let seen: Vec<u16> =
            listeners.iter().flat_map(|listener| listener.witness.seen()).map(|packet| packet.ports[0]).collect();
        let wrong: Vec<_> = sent.iter().filter(|(_, mark, expected)| seen.contains(mark) != *expected).collect();
        ensure!(wrong.is_empty(), "{whom}, port {port}, expected: {wrong:?}");
        Ok(())
    };
    see("an unguarded host", PORT, 20_000, &|_| true)?;
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    see("a guarded host", PORT, 20_200, &|_| false)?;
    let passes = |hidden| hidden == Hidden::No || hidden == Hidden::FromPrograms && !layers.counts();
    see("a guarded host", OTHER, 20_400, &passes)
}
