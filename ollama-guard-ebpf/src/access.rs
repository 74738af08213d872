//! Reading packets from the kernel's side.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_pull_data};
use ollama_guard_common::Packet;

/// Furthest offset that is read: gives the verifier the bound it wants for a variable packet offset
/// (`MAX_PACKET_OFF`, `kernel/bpf/verifier.c`) and is beyond every header the classifier accepts.
const MAX_OFFSET: usize = 0x7fff;

/// What XDP and TC can read directly: the linear part of a packet.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    /// Address of the first byte.
    pub(crate) start: usize,
    /// Address behind the last byte.
    pub(crate) end: usize,
}

impl Packet for Linear {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = self.start + offset;
        if at + N > self.end {
            return None;
        }
        // SAFETY: at..at+N lies within the packet, as just compared; the verifier proves it again.
        Some(unsafe { *(at as *const [u8; N]) })
    }
}

/// A frame at TC by copies: reaches page fragments, where the headers may lie.
pub(crate) struct Frame {
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

impl Packet for Frame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: the kernel writes N bytes to a buffer of N.
        let result = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, to, N as u32) };
        if result == 0 { Some(bytes) } else { None }
    }
}

/// A packet at TC from its network header on, by copies: for layer-3 devices, which disagree about what is before that
/// (GRE leaves the outer headers there: `__ipgre_rcv`, `net/ipv4/ip_gre.c`). Reaches the linear part only
/// (`bpf_skb_load_bytes_relative`, `net/core/filter.c`): see [`Datagram::pull`].
pub(crate) struct Datagram {
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

/// Beyond every header the classifier accepts, and what a tunnel leaves in front of them.
const PULLED: u32 = 2560;

impl Datagram {
    /// Brings the headers into the linear part, if they are in page fragments. The packet's bytes stay what they are.
    #[inline(always)]
    pub(crate) fn pull(&self) {
        // SAFETY: the verifier has checked the context's type.
        let length = unsafe { (*self.skb).len };
        // SAFETY: there are no pointers into the packet that this could move. If it fails, the packet stays ambiguous.
        unsafe { bpf_skb_pull_data(self.skb.cast(), if length < PULLED { length } else { PULLED }) };
    }
}

impl Packet for Datagram {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        /// `BPF_HDR_START_NET`, `include/uapi/linux/bpf.h`.
        const NETWORK: u32 = 1;
        let mut bytes = [0; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: the kernel writes N bytes to a buffer of N.
        let result = unsafe { bpf_skb_load_bytes_relative(self.skb.cast(), offset as u32, to, N as u32, NETWORK) };
        if result == 0 { Some(bytes) } else { None }
    }
}
