//! The TC ingress programs: for every device that XDP does not suit.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{
    ETHERNET_HEADER, GLANCED_V4, GLANCED_V6, Network, Packet, Suspect, Traffic, Transport, glance, is_link_local,
    is_tag, look_inside, may_answer, outline, outline_untagged, suspect,
};

use crate::access::{Datagram, Frame, Linear};
use crate::events::tell;
use crate::inside::Inside;
use crate::record::{Conclusion, conclude};
use crate::route::Route;
use crate::rules::{Constants, refuses_all};

/// `PACKET_OTHERHOST`, `include/uapi/linux/if_packet.h`: a frame for another host, or for a macvlan child, which
/// is judged itself. The stack takes it no further than to such a child.
const OTHER_HOST: u32 = 3;
const VID: u32 = 0x0fff;

/// Devices with an Ethernet header. As in XDP, unrelated packets are out after one look.
#[classifier]
pub(crate) fn guard_tc(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    let frame = Linear { start: context.data(), end: context.data_end() };
    let Some((network, protocol, port)) = glance(&frame, ethertype(skb)) else {
        let bits = look_tc(skb);
        return if bits == 0 { TC_ACT_UNSPEC } else { finish(skb, bits, act_tc(skb, bits), tell_tc) };
    };
    match suspect(&policy(skb), Traffic::Ip(network, Transport::Port(protocol, port))) {
        None => TC_ACT_UNSPEC,
        Some(_) if is_for_another_interface(skb) => TC_ACT_UNSPEC,
        // As in XDP: not in functions, because their return would be dear.
        Some(suspect) if refuses_all() && !may_answer(&frame, protocol, network) => match network {
            Network::V4(_) => refuse(skb, &frame, suspect.glanced(GLANCED_V4)),
            Network::V6(_) => refuse(skb, &frame, suspect.glanced(GLANCED_V6)),
        },
        Some(suspect) => {
            let bits = suspect.anywhere().to_bits();
            let (network, act) = match network {
                Network::V4(_) => (GLANCED_V4, act_tc_v4(skb, bits)),
                Network::V6(_) => (GLANCED_V6, act_tc_v6(skb, bits)),
            };
            finish(skb, suspect.glanced(network).to_bits(), act, tell_tc)
        }
    }
}

/// Members of a bridge, bond or team: only what their master never sees. Everything else is judged, and counted, there.
#[classifier]
pub(crate) fn guard_tc_member(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    if !is_link_local(&linear(skb)) {
        return TC_ACT_UNSPEC;
    }
    let bits = look_tc(skb);
    if bits == 0 { TC_ACT_UNSPEC } else { finish(skb, bits, act_tc(skb, bits), tell_tc) }
}

// Global functions: the verifier checks each of them once, by itself, and not again for every way that leads to it.

/// For what a glance does not tell: as [`bits`].
#[unsafe(no_mangle)]
extern "C" fn look_tc(skb: *mut __sk_buff) -> u64 {
    if is_for_another_interface(skb) {
        return 0;
    }
    // The kernel has moved the outermost tag out of the frame; priority tags may follow it.
    let traffic = outline(&linear(skb), ethertype(skb), ETHERNET_HEADER);
    // What is missing may be in page fragments.
    if is_unclear(traffic) { look_again_tc(skb) } else { bits(skb, traffic) }
}

/// A frame for another host or a macvlan child, or tagged: it belongs to its VLAN interface and is judged there.
#[inline(always)]
fn is_for_another_interface(skb: *mut __sk_buff) -> bool {
    // SAFETY: the verifier has checked the context's type; here and below.
    let (kind, tagged, tci) = unsafe { ((*skb).pkt_type, (*skb).vlan_present, (*skb).vlan_tci) };
    kind == OTHER_HOST || (tagged != 0 && tci & VID != 0)
}

/// Devices without one: tun, WireGuard, IPIP, GRE, sit, PPP.
#[classifier]
pub(crate) fn guard_tc_l3(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    let traffic = outline_untagged(&Datagram { skb }, ethertype(skb), 0);
    let bits = match traffic {
        // A tunnel may say so: the kernel takes it off (skb_vlan_untag, net/core/skbuff.c), and others after it.
        Traffic::Other if is_tag(ethertype(skb)) => look_again_tc_l3(skb),
        _ if is_unclear(traffic) => look_again_tc_l3(skb),
        _ => bits(skb, traffic),
    };
    if bits == 0 { TC_ACT_UNSPEC } else { finish(skb, bits, act_tc_l3(skb, bits), tell_tc_l3) }
}

/// There is more to see by copies, which reach everything: of what is ambiguous, and of an IP packet in an IP packet.
#[inline(always)]
fn is_unclear(traffic: Traffic) -> bool {
    matches!(traffic, Traffic::Ambiguous(_) | Traffic::Ip(_, Transport::Ambiguous(..) | Transport::Packet(_)))
}

#[unsafe(no_mangle)]
extern "C" fn look_again_tc(skb: *mut __sk_buff) -> u64 {
    let traffic = outline(&Frame { skb }, ethertype(skb), ETHERNET_HEADER);
    match Inside::of(traffic) {
        Some(inside) => look_inside_tc(skb, inside.to_bits()),
        None => bits(skb, traffic),
    }
}

#[unsafe(no_mangle)]
extern "C" fn look_again_tc_l3(skb: *mut __sk_buff) -> u64 {
    let packet = Datagram { skb };
    packet.pull();
    let traffic = outline(&packet, ethertype(skb), 0);
    match Inside::of(traffic) {
        Some(inside) => look_inside_tc_l3(skb, inside.to_bits()),
        None => bits(skb, traffic),
    }
}

// For an IP packet in an IP packet.

#[unsafe(no_mangle)]
extern "C" fn look_inside_tc(skb: *mut __sk_buff, inside: u64) -> u64 {
    bits(skb, look_inside(&Frame { skb }, Inside::from_bits(inside).traffic()))
}

#[unsafe(no_mangle)]
extern "C" fn look_inside_tc_l3(skb: *mut __sk_buff, inside: u64) -> u64 {
    bits(skb, look_inside(&Datagram { skb }, Inside::from_bits(inside).traffic()))
}

/// [`Suspect::to_bits`], or 0 for a packet that is none of our business.
#[inline(always)]
fn bits(skb: *mut __sk_buff, traffic: Traffic) -> u64 {
    match suspect(&policy(skb), traffic) {
        Some(suspect) => suspect.to_bits(),
        None => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn act_tc(skb: *mut __sk_buff, bits: u64) -> u64 {
    enact(skb, &Frame { skb }, &policy(skb).unanswered(), Suspect::from_bits(bits))
}

#[unsafe(no_mangle)]
extern "C" fn act_tc_l3(skb: *mut __sk_buff, bits: u64) -> u64 {
    enact(skb, &Datagram { skb }, &policy(skb), Suspect::from_bits(bits))
}

// For what a glance has told: nearly all packets to a guarded port. It has seen that their headers are in the linear part.

#[unsafe(no_mangle)]
extern "C" fn act_tc_v4(skb: *mut __sk_buff, bits: u64) -> u64 {
    enact(skb, &linear(skb), &policy(skb), Suspect::from_bits(bits).glanced(GLANCED_V4))
}

#[unsafe(no_mangle)]
extern "C" fn act_tc_v6(skb: *mut __sk_buff, bits: u64) -> u64 {
    enact(skb, &linear(skb), &policy(skb), Suspect::from_bits(bits).glanced(GLANCED_V6))
}

#[unsafe(no_mangle)]
extern "C" fn tell_tc(skb: *mut __sk_buff, suspect: u64, outcome: u64) -> u32 {
    tell(&Frame { skb }, interface(skb), suspect, outcome, size(skb))
}

#[unsafe(no_mangle)]
extern "C" fn tell_tc_l3(skb: *mut __sk_buff, suspect: u64, outcome: u64) -> u32 {
    tell(&Datagram { skb }, interface(skb), suspect, outcome, size(skb))
}

#[inline(always)]
fn enact<P: Packet>(skb: *mut __sk_buff, packet: &P, rules: &Constants, suspect: Suspect) -> u64 {
    conclude(packet, rules, suspect, interface(skb), size(skb)).to_bits()
}

#[inline(always)]
fn refuse(skb: *mut __sk_buff, frame: &Linear, suspect: Suspect) -> i32 {
    finish(skb, suspect.to_bits(), enact(skb, frame, &policy(skb).refusing().unanswered(), suspect), tell_tc)
}

/// `act`: a [`Conclusion`].
#[inline(always)]
fn finish(skb: *mut __sk_buff, suspect: u64, act: u64, tell: extern "C" fn(*mut __sk_buff, u64, u64) -> u32) -> i32 {
    let conclusion = Conclusion::from_bits(act);
    if let Some(outcome) = conclusion.to_tell() {
        tell(skb, suspect, outcome);
    }
    if conclusion.drops() { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

#[inline(always)]
fn size(skb: *mut __sk_buff) -> Counter {
    // SAFETY: as above.
    let (merged, bytes) = unsafe { ((*skb).gso_segs, (*skb).len) };
    // An aggregate counts as the packets it was merged from; anything else says 0.
    let packets = u64::from(if merged == 0 { 1 } else { merged });
    Counter { packets, bytes: bytes.into() }
}

#[inline(always)]
fn linear(skb: *mut __sk_buff) -> Linear {
    // SAFETY: as above.
    let (start, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    Linear { start, end }
}

#[inline(always)]
fn ethertype(skb: *mut __sk_buff) -> u16 {
    // SAFETY: as above. `protocol` holds the EtherType in network byte order in its low half.
    u16::from_be(unsafe { (*skb).protocol } as u16)
}

#[inline(always)]
fn policy(skb: *mut __sk_buff) -> Constants {
    Constants::new(Route { context: skb.cast(), interface: interface(skb) })
}

#[inline(always)]
fn interface(skb: *mut __sk_buff) -> u32 {
    // SAFETY: as above.
    unsafe { (*skb).ifindex }
}
