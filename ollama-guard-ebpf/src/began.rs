//! Connections that begin on this side from a port that happens to be guarded. A program at egress notes them, so that
//! their answers pass; without it everything else is as ever.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use ollama_guard_common::abi::CONVERSATION_AGE;
use ollama_guard_common::{
    Address, Conversation, ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Network, Packet, Policy, Protocol, answers,
    opens,
};

use crate::access::Linear;
use crate::maps::BEGAN;
use crate::route::Route;
use crate::rules::Constants;

/// Egress of devices with an Ethernet header.
#[classifier]
pub(crate) fn note_tc(context: TcContext) -> i32 {
    note(&context, ETHERNET_HEADER)
}

/// Egress of devices without one.
#[classifier]
pub(crate) fn note_tc_l3(context: TcContext) -> i32 {
    note(&context, 0)
}

/// Never changes what becomes of a packet.
#[inline(always)]
fn note(context: &TcContext, offset: usize) -> i32 {
    let skb = context.skb.skb;
    let packet = Linear { start: context.data(), end: context.data_end() };
    // SAFETY: the verifier has checked the context's type; here and below. In network byte order in its low half.
    let network = match u16::from_be(unsafe { (*skb).protocol } as u16) {
        ETHERTYPE_IPV4 => Network::V4(offset),
        ETHERTYPE_IPV6 => Network::V6(offset),
        _ => return TC_ACT_UNSPEC,
    };
    if let Some(conversation) = opens(&packet, network) {
        remember(skb, &conversation);
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn remember(skb: *mut __sk_buff, conversation: &Conversation) {
    // SAFETY: as above.
    let arrived = unsafe { (*skb).ingress_ifindex };
    let route = Route { context: skb.cast(), interface: arrived };
    if Constants::new(route).service(Protocol::Tcp, conversation.local_port).is_none() {
        return;
    }
    // What others sent, and is routed, counts if it was translated to an address of this host: its answers come back here,
    // to the connection that made them. An address of somebody else's anybody can write into a packet.
    if arrived != 0 {
        let [remote, local] = [conversation.remote, conversation.local];
        let family = conversation.family;
        if !route.is_surely_for_this_host(&Address { family, words: remote }, &Address { family, words: local }) {
            return;
        }
    }
    // SAFETY: takes nothing, returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    // If the map has no room even so, only a kindness is missing.
    let _ = BEGAN.insert(conversation, now, 0);
}

/// Does it answer in a connection that this side opened? A function of its own, with its own stack: few ask.
#[inline(never)]
pub(crate) fn is_answer<P: Packet + ?Sized>(packet: &P, network: Network) -> bool {
    let Some(conversation) = &answers(packet, network) else { return false };
    let Some(heard) = BEGAN.get_ptr_mut(conversation) else { return false };
    // SAFETY: takes nothing, returns a number.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a live map entry; several CPUs may write the time, each a right one.
    unsafe {
        if now.wrapping_sub(heard.read_volatile()) > CONVERSATION_AGE {
            return false;
        }
        heard.write_volatile(now);
    }
    true
}
