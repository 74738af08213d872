//! The XDP program: Ethernet frames, before the kernel allocates anything for them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{Suspect, Verdict, classify_ethernet, judge, suspect};

use crate::access::Linear;
use crate::record::conclude;
use crate::route::Route;
use crate::rules::Constants;

/// For kernels before 5.18, which know no multi-buffer XDP.
#[xdp]
pub(crate) fn guard_xdp(context: XdpContext) -> u32 {
    match suspect(&policy(&context), classify_ethernet(&frame(&context))) {
        None => XDP_PASS,
        Some(suspect) => act(context.ctx, suspect.to_bits(), (context.data_end() - context.data()) as u64),
    }
}

/// For frames of any size: headers are always in the first buffer.
#[xdp(frags)]
pub(crate) fn guard_xdp_frags(context: XdpContext) -> u32 {
    match suspect(&policy(&context), classify_ethernet(&frame(&context))) {
        None => XDP_PASS,
        // SAFETY: the helper only reads the context.
        Some(suspect) => act(context.ctx, suspect.to_bits(), unsafe { bpf_xdp_get_buff_len(context.ctx) }),
    }
}

/// A function of its own, so that the path of unrelated packets is short and verified once.
#[inline(never)]
fn act(context: *mut xdp_md, suspect: u32, bytes: u64) -> u32 {
    let context = XdpContext::new(context);
    let policy = policy(&context);
    let decision = judge(&policy, &frame(&context), Suspect::from_bits(suspect));
    match conclude(decision, policy.route.interface, Counter { packets: 1, bytes }) {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
    }
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
