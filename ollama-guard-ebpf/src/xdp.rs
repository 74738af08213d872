//! The XDP program: Ethernet frames, before the kernel allocates anything for them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{
    GLANCED_V4, GLANCED_V6, Network, Packet as _, Suspect, Traffic, Transport, ethertype, glance, look_inside,
    may_answer, outline_ethernet, suspect,
};

use crate::access::Linear;
use crate::events::tell;
use crate::inside::Inside;
use crate::record::{Conclusion, conclude};
use crate::route::Route;
use crate::rules::{Constants, refuses_all};

/// For kernels before 5.18, which know no multi-buffer XDP.
#[xdp]
pub(crate) fn guard_xdp(context: XdpContext) -> u32 {
    guard::<false>(&context)
}

/// For frames of any size: headers are always in the first buffer.
#[xdp(frags)]
pub(crate) fn guard_xdp_frags(context: XdpContext) -> u32 {
    guard::<true>(&context)
}

/// The way of unrelated packets: one look and out. What is rare is in functions of its own, so that this way needs
/// little stack and few registers that must be saved.
#[inline(always)]
fn guard<const FRAGS: bool>(context: &XdpContext) -> u32 {
    let frame = frame(context);
    let Some((network, protocol, port)) = glance(&frame, ethertype(&frame)) else {
        return match look_xdp(context.ctx) {
            0 => XDP_PASS,
            bits if FRAGS => finish(context, bits, act_xdp_frags(context.ctx, bits)),
            bits => finish(context, bits, act_xdp(context.ctx, bits)),
        };
    };
    match suspect(&policy(context), Traffic::Ip(network, Transport::Port(protocol, port))) {
        None => XDP_PASS,
        // Here and not in functions: the call, and above all the return, would cost a third of what is done.
        Some(suspect) if refuses_all() && !may_answer(&frame, protocol, network) => match network {
            Network::V4(_) => refuse::<FRAGS>(context, suspect.glanced(GLANCED_V4)),
            Network::V6(_) => refuse::<FRAGS>(context, suspect.glanced(GLANCED_V6)),
        },
        Some(suspect) => {
            let bits = suspect.anywhere().to_bits();
            let (network, act) = match (network, FRAGS) {
                (Network::V4(_), false) => (GLANCED_V4, act_xdp_v4(context.ctx, bits)),
                (Network::V4(_), true) => (GLANCED_V4, act_xdp_v4_frags(context.ctx, bits)),
                (Network::V6(_), false) => (GLANCED_V6, act_xdp_v6(context.ctx, bits)),
                (Network::V6(_), true) => (GLANCED_V6, act_xdp_v6_frags(context.ctx, bits)),
            };
            finish(context, suspect.glanced(network).to_bits(), act)
        }
    }
}

#[inline(always)]
fn refuse<const FRAGS: bool>(context: &XdpContext, suspect: Suspect) -> u32 {
    finish(context, suspect.to_bits(), enact::<FRAGS>(context, &policy(context).refusing().unanswered(), suspect))
}

/// `act`: a [`Conclusion`].
#[inline(always)]
fn finish(context: &XdpContext, suspect: u64, act: u64) -> u32 {
    let conclusion = Conclusion::from_bits(act);
    if let Some(outcome) = conclusion.to_tell() {
        tell_xdp(context.ctx, suspect, outcome, conclusion.bytes());
    }
    if conclusion.drops() { XDP_DROP } else { XDP_PASS }
}

// Global functions: the verifier checks each of them once, by itself, and not again for every way that leads to it.

/// For what a glance does not tell: [`Suspect::to_bits`], or 0 for a packet that is none of our business.
#[unsafe(no_mangle)]
extern "C" fn look_xdp(context: *mut xdp_md) -> u64 {
    let traffic = outline_ethernet(&frame(&XdpContext::new(context)));
    match Inside::of(traffic) {
        Some(inside) => look_inside_xdp(context, inside.to_bits()),
        None => bits(&XdpContext::new(context), traffic),
    }
}

/// For an IP packet in an IP packet.
#[unsafe(no_mangle)]
extern "C" fn look_inside_xdp(context: *mut xdp_md, inside: u64) -> u64 {
    let context = XdpContext::new(context);
    bits(&context, look_inside(&frame(&context), Inside::from_bits(inside).traffic()))
}

#[inline(always)]
fn bits(context: &XdpContext, traffic: Traffic) -> u64 {
    match suspect(&policy(context), traffic) {
        Some(suspect) => suspect.to_bits(),
        None => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp(context: *mut xdp_md, bits: u64) -> u64 {
    act::<false>(context, Suspect::from_bits(bits))
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp_frags(context: *mut xdp_md, bits: u64) -> u64 {
    act::<true>(context, Suspect::from_bits(bits))
}

// For what a glance has told: nearly all packets to a guarded port, where some may pass.

#[unsafe(no_mangle)]
extern "C" fn act_xdp_v4(context: *mut xdp_md, bits: u64) -> u64 {
    act::<false>(context, Suspect::from_bits(bits).glanced(GLANCED_V4))
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp_v4_frags(context: *mut xdp_md, bits: u64) -> u64 {
    act::<true>(context, Suspect::from_bits(bits).glanced(GLANCED_V4))
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp_v6(context: *mut xdp_md, bits: u64) -> u64 {
    act::<false>(context, Suspect::from_bits(bits).glanced(GLANCED_V6))
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp_v6_frags(context: *mut xdp_md, bits: u64) -> u64 {
    act::<true>(context, Suspect::from_bits(bits).glanced(GLANCED_V6))
}

#[unsafe(no_mangle)]
extern "C" fn tell_xdp(context: *mut xdp_md, suspect: u64, outcome: u64, bytes: u64) -> u32 {
    let context = XdpContext::new(context);
    tell(&frame(&context), interface(&context), suspect, outcome, Counter { packets: 1, bytes })
}

#[inline(always)]
fn act<const FRAGS: bool>(context: *mut xdp_md, suspect: Suspect) -> u64 {
    let context = XdpContext::new(context);
    enact::<FRAGS>(&context, &policy(&context), suspect)
}

#[inline(always)]
fn enact<const FRAGS: bool>(context: &XdpContext, rules: &Constants, suspect: Suspect) -> u64 {
    let frame = frame(context);
    let bytes = if FRAGS && !is_whole(&frame, suspect.network) {
        // SAFETY: the helper only reads the context.
        unsafe { bpf_xdp_get_buff_len(context.ctx) }
    } else {
        (frame.end - frame.start) as u64
    };
    conclude(&frame, rules, suspect, interface(context), Counter { packets: 1, bytes }).to_bits()
}

/// Does the first buffer hold all that the IP header speaks of? Most do, and then there is no need to call the kernel for
/// the frame's length. (Padding in a further buffer would go uncounted; nobody puts it there.) A length of zero says
/// nothing: RFC 2675.
#[inline(always)]
fn is_whole(frame: &Linear, network: Option<Network>) -> bool {
    let (start, length) = match network {
        Some(Network::V4(offset)) => (offset, frame.read(offset + 2)),
        Some(Network::V6(offset)) => (offset + 40, frame.read(offset + 4)),
        None => (0, None),
    };
    let length = length.map_or(0, |[bytes]: [u16; 1]| u16::from_be(bytes).into());
    length > 0 && start + length <= frame.end - frame.start
}

#[inline(always)]
fn frame(context: &XdpContext) -> Linear {
    Linear { start: context.data(), end: context.data_end() }
}

#[inline(always)]
fn policy(context: &XdpContext) -> Constants {
    Constants::new(Route { context: context.as_ptr(), interface: interface(context) })
}

#[inline(always)]
fn interface(context: &XdpContext) -> u32 {
    // SAFETY: the verifier has checked the context's type.
    unsafe { (*context.ctx).ingress_ifindex }
}
