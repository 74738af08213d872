//! Reading packets from the kernel's side.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative};
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

/// A packet at TC whose link header the program sees: directly where it can, else by a copy, because the headers of
/// an aggregate may lie in page fragments.
pub(crate) struct Frame {
    /// The linear part.
    pub(crate) linear: Linear,
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

impl Packet for Frame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if let Some(bytes) = self.linear.read(offset) {
            return Some(bytes);
        }
        let mut bytes = [0; N];
        // SAFETY: the kernel writes N bytes to a buffer of N, or none.
        let result =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
        if result == 0 { Some(bytes) } else { None }
    }
}

/// A packet at TC, from its network header on, wherever that is: layer-3 devices disagree about what lies before
/// it (GRE leaves the outer headers there: `__ipgre_rcv`, `net/ipv4/ip_gre.c`).
pub(crate) struct Network {
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

/// `BPF_HDR_START_NET`, `include/uapi/linux/bpf.h`.
const FROM_NETWORK_HEADER: u32 = 1;

impl Packet for Network {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: the kernel writes N bytes to a buffer of N, or none.
        let result = unsafe {
            bpf_skb_load_bytes_relative(
                self.skb.cast(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
                FROM_NETWORK_HEADER,
            )
        };
        if result == 0 { Some(bytes) } else { None }
    }
}
