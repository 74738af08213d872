//! The XDP program: Ethernet frames, before the kernel allocates anything for them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{
    Network, Packet as _, Suspect, Traffic, Transport, Verdict, classify_ethernet, ethertype, glance, judge, suspect,
};

use crate::access::Linear;
use crate::events::tell;
use crate::record::conclude;
use crate::route::Route;
use crate::rules::Constants;

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

/// The way of unrelated packets: one look and out. Everything else is in functions of its own, so that this one needs
/// neither a stack nor registers that must be saved.
#[inline(always)]
fn guard<const FRAGS: bool>(context: &XdpContext) -> u32 {
    let frame = frame(context);
    let Some((network, protocol, port)) = glance(&frame, ethertype(&frame)) else {
        return if FRAGS { look_xdp_frags(context.ctx) } else { look_xdp(context.ctx) };
    };
    match suspect(&policy(context), Traffic::Ip(network, Transport::Port(protocol, port))) {
        None => XDP_PASS,
        Some(suspect) => act_on::<FRAGS>(context.ctx, suspect.to_bits()),
    }
}

// Global functions: the verifier checks each of them once, by itself, and not again for every way that leads to it.

/// For what a glance does not tell.
#[unsafe(no_mangle)]
extern "C" fn look_xdp(context: *mut xdp_md) -> u32 {
    look::<false>(context)
}

/// For what a glance does not tell.
#[unsafe(no_mangle)]
extern "C" fn look_xdp_frags(context: *mut xdp_md) -> u32 {
    look::<true>(context)
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp(context: *mut xdp_md, suspect: u64) -> u32 {
    act::<false>(context, suspect)
}

#[unsafe(no_mangle)]
extern "C" fn act_xdp_frags(context: *mut xdp_md, suspect: u64) -> u32 {
    act::<true>(context, suspect)
}

#[unsafe(no_mangle)]
extern "C" fn tell_xdp(context: *mut xdp_md, hash: u64, suspect: u64, outcome: u64) -> u32 {
    tell(&frame(&XdpContext::new(context)), hash, suspect, outcome)
}

#[inline(always)]
fn act_on<const FRAGS: bool>(context: *mut xdp_md, suspect: u64) -> u32 {
    if FRAGS { act_xdp_frags(context, suspect) } else { act_xdp(context, suspect) }
}

#[inline(always)]
fn look<const FRAGS: bool>(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    match suspect(&policy(&context), classify_ethernet(&frame(&context))) {
        None => XDP_PASS,
        Some(suspect) => act_on::<FRAGS>(context.ctx, suspect.to_bits()),
    }
}

#[inline(always)]
fn act<const FRAGS: bool>(context: *mut xdp_md, bits: u64) -> u32 {
    let context = XdpContext::new(context);
    let (policy, frame, suspect) = (policy(&context), frame(&context), Suspect::from_bits(bits));
    let decision = judge(&policy, &frame, suspect);
    let bytes = if FRAGS && !is_whole(&frame, suspect.network) {
        // SAFETY: the helper only reads the context.
        unsafe { bpf_xdp_get_buff_len(context.ctx) }
    } else {
        (frame.end - frame.start) as u64
    };
    let size = Counter { packets: 1, bytes };
    let told = |hash, outcome| tell_xdp(context.ctx, hash, bits, outcome);
    match conclude(decision, policy.route.interface, size, told) {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
    }
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
    // SAFETY: the verifier has checked the context's type.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    Constants { route: Route { context: context.as_ptr(), interface } }
}
