//! The XDP program: Ethernet frames, before the kernel allocates anything for them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use ollama_guard_common::abi::Counter;
use ollama_guard_common::{Verdict, classify_ethernet, decide};

use crate::access::Linear;
use crate::record::conclude;
use crate::route::Route;
use crate::rules::Constants;

/// For kernels before 5.18, which know no multi-buffer XDP.
#[xdp]
pub(crate) fn guard_xdp(context: XdpContext) -> u32 {
    let bytes = context.data_end() - context.data();
    guard(&context, || bytes as u64)
}

/// For frames of any size: headers are always in the first buffer.
#[xdp(frags)]
pub(crate) fn guard_xdp_frags(context: XdpContext) -> u32 {
    // SAFETY: the helper only reads the context.
    guard(&context, || unsafe { bpf_xdp_get_buff_len(context.ctx) })
}

#[inline(always)]
fn guard(context: &XdpContext, bytes: impl FnOnce() -> u64) -> u32 {
    let frame = Linear { start: context.data(), end: context.data_end() };
    // SAFETY: the verifier has checked the context's type.
    let interface = unsafe { (*context.ctx).ingress_ifindex };
    let policy = Constants { route: Route { context: context.as_ptr(), interface } };
    let decision = decide(&policy, &frame, classify_ethernet(&frame));
    match conclude(decision, interface, || Counter { packets: 1, bytes: bytes() }) {
        Verdict::Pass => XDP_PASS,
        Verdict::Drop => XDP_DROP,
    }
}
