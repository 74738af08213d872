//! Frames over a wire, through the attached programs: what a test run cannot show. There the kernel takes the outer tag
//! out of the frame before TC, headers lie in page fragments, and frames end anywhere.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ollama_guard::class::Class;
use ollama_guard::plan::hook::Hook;
use tests::frames::Wire;
use tests::netns::Netns;
use tests::packet::strategy::Frame;
use tests::packet::{Extension, Fragment, Packet, Tag};
use tests::stand::{Counted, Model, Stand, Way};
use tests::{require, requires, wait};

use crate::cases::{SERVICES, packets};

#[test]
fn through_native_xdp() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    live(Hook::XdpNative)
}

#[test]
fn through_generic_xdp() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    live(Hook::XdpGeneric)
}

#[test]
fn through_tcx() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    live(Hook::Tcx)
}

#[test]
fn through_tcx_with_headers_in_page_fragments() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    scattered(Way::Tc)
}

#[test]
fn through_the_program_for_layer_3_with_headers_in_page_fragments() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    scattered(Way::TcLayer3)
}

/// What can be read directly ends with the Ethernet header.
fn scattered(way: Way) -> Result<()> {
    Stand::run_beside(|stand, far| {
        let model = stand.enforce(SERVICES, Class::Guarded, Hook::Tcx, way == Way::TcLayer3)?;
        let wire = Wire::scattered(far, "far0")?;
        let long = packets().into_iter().map(|packet| Packet { payload: 5000, ..packet });
        let long = long.filter(|packet| way == Way::Tc || packet.tags.is_empty());
        let frames: Vec<_> = long.map(|packet| packet.bytes()).filter(|frame| frame.len() < 9000).collect();
        send(stand, &model, way, &wire, &frames)
    })
}

fn live(hook: Hook) -> Result<()> {
    Stand::run_beside(|stand, far: &Netns| {
        let model = stand.enforce(SERVICES, Class::Guarded, hook, false)?;
        let wire = Wire::open(far, "far0")?;
        let mut frames: Vec<_> = packets().iter().map(Packet::bytes).collect();
        frames.extend(cut());
        frames.extend(packets().into_iter().take(60).map(|packet| Packet { payload: 8000, ..packet }.bytes()));
        frames.retain(|frame| frame.len() < 9000);
        send(stand, &model, if hook.is_tc() { Way::Tc } else { Way::Xdp }, &wire, &frames)
    })
}

/// Frames that end at every byte of their headers.
fn cut() -> Vec<Vec<u8>> {
    let fragment = Extension::Fragment(Fragment::FIRST);
    let packets = [
        Packet::v4(11434).with_v4(|header| header.options = 2),
        Packet::v4(11434).udp().with_v4(|header| header.fragment = Fragment::FIRST),
        Packet::v6(11434).behind(&[Extension::HopByHop(0), Extension::Authentication(1)]),
        Packet::v6(11434).behind(&[fragment, Extension::Destination(0)]),
        Packet::v4(11434).tagged(&[Tag::priority(1)]),
    ];
    let cut = packets.iter().flat_map(|packet| {
        let frame = packet.bytes();
        (packet.network_offset()..frame.len()).map(move |end| frame[..end].to_vec())
    });
    cut.collect()
}

/// Sends frames and sees after each that exactly what the model expects was counted.
fn send(stand: &Stand, model: &Model, way: Way, wire: &Wire, frames: &[Vec<u8>]) -> Result<()> {
    let mut expected: Vec<Counted> = Vec::new();
    for frame in frames {
        for counted in expects(model, way, frame) {
            let slot = expected.iter_mut().find(|one| (one.service, one.outcome) == (counted.service, counted.outcome));
            match slot {
                Some(slot) => {
                    slot.counter.packets += counted.counter.packets;
                    slot.counter.bytes += counted.counter.bytes;
                }
                None => expected.push(counted),
            }
        }
        expected.sort_by_key(|counted| (counted.service, counted.outcome));
        wire.send(frame)?;
        let counted = wait::until("the frame to be counted", Duration::from_secs(1), || {
            stand.counted().is_ok_and(|counted| counted == expected)
        });
        counted.with_context(|| {
            format!(
                "{way:?}, {} bytes: {:?}\nexpected {expected:?}\ncounted {:?}",
                frame.len(),
                Frame(frame[..frame.len().min(80)].to_vec()),
                stand.counted()
            )
        })?;
    }
    ensure!(!expected.is_empty());
    Ok(())
}

/// What the model expects of a frame that comes over a wire. At TC the outer tag is out of the frame, and its bytes with it.
fn expects(model: &Model, way: Way, frame: &[u8]) -> Vec<Counted> {
    let tagged = matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8]);
    if way == Way::Xdp || !tagged {
        return model.expects(way, frame).1;
    }
    // A frame that ends with its tag goes no further: skb_vlan_untag (net/core/skbuff.c) wants two bytes more.
    let is_vlan = frame.get(14..20).is_none_or(|tag| u16::from_be_bytes([tag[0], tag[1]]) & 0xfff != 0);
    if is_vlan { Vec::new() } else { model.expects(way, &[&frame[..12], &frame[16..]].concat()).1 }
}
