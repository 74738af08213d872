//! The TC ingress programs: for every device that XDP does not suit.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{Decision, Packet, Payload, Traffic, Verdict, classify_network, decide, untag};

use crate::access::{Frame, Linear, Network};
use crate::record::conclude;
use crate::route::Route;
use crate::rules::Constants;

/// `PACKET_OTHERHOST`, `include/uapi/linux/if_packet.h`: a frame for another host, or for a macvlan child, which
/// is judged itself. The stack takes it no further than to such a child.
const OTHER_HOST: u32 = 3;
const VID: u32 = 0x0fff;

/// Devices with an Ethernet header.
#[classifier]
pub(crate) fn guard_tc(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the verifier has checked the context's type; here and below.
    let (kind, tagged, tci) = unsafe { ((*skb).pkt_type, (*skb).vlan_present, (*skb).vlan_tci) };
    if kind == OTHER_HOST || (tagged != 0 && tci & VID != 0) {
        return TC_ACT_UNSPEC; // a tagged frame belongs to its VLAN interface and is judged there
    }
    let linear = Linear { start: context.data(), end: context.data_end() };
    let frame = Frame { linear, skb };
    // The kernel has moved the outermost tag out of the frame; priority tags may follow it.
    let traffic = match untag(&frame, ethertype(&context)) {
        Payload::Network { ethertype, offset } => classify_network(&frame, ethertype, offset),
        Payload::OtherVlan => Traffic::Other,
        Payload::Ambiguous(ambiguity) => Traffic::Ambiguous(ambiguity),
    };
    guard(&context, &frame, traffic)
}

/// Devices without one: tun, WireGuard, IPIP, GRE, sit, PPP.
#[classifier]
pub(crate) fn guard_tc_l3(context: TcContext) -> i32 {
    let packet = Network { skb: context.skb.skb };
    let traffic = classify_network(&packet, ethertype(&context), 0);
    guard(&context, &packet, traffic)
}

#[inline(always)]
fn ethertype(context: &TcContext) -> u16 {
    // SAFETY: as above. `protocol` holds the EtherType in network byte order in its low half.
    u16::from_be(unsafe { (*context.skb.skb).protocol } as u16)
}

#[inline(always)]
fn guard<P: Packet>(context: &TcContext, packet: &P, traffic: Traffic) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: as above.
    let interface = unsafe { (*skb).ifindex };
    let policy = Constants { route: Route { context: context.as_ptr(), interface } };
    let decision: Decision = decide(&policy, packet, traffic);
    // SAFETY: as above.
    let size = || unsafe {
        Counter {
            packets: u64::from(if (*skb).gso_segs == 0 { 1 } else { (*skb).gso_segs }),
            bytes: u64::from((*skb).len),
        }
    };
    match conclude(decision, interface, size) {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}
