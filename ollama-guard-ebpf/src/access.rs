//! Reading packets from the kernel's side.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes_relative;
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

/// A packet at TC by copies, from its link header (`MAC`) or its network header (`NETWORK`) on: reaches page fragments,
/// where the headers of an aggregate may lie, and layer-3 devices, which disagree about what is before the network
/// header (GRE leaves the outer headers there: `__ipgre_rcv`, `net/ipv4/ip_gre.c`).
pub(crate) struct Copied<const FROM: u32> {
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

/// `BPF_HDR_START_MAC`, `include/uapi/linux/bpf.h`.
pub(crate) const MAC: u32 = 0;
/// `BPF_HDR_START_NET`, `include/uapi/linux/bpf.h`.
pub(crate) const NETWORK: u32 = 1;

impl<const FROM: u32> Packet for Copied<FROM> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: the kernel writes N bytes to a buffer of N, or none.
        let result = unsafe { bpf_skb_load_bytes_relative(self.skb.cast(), offset as u32, to, N as u32, FROM) };
        if result == 0 { Some(bytes) } else { None }
    }
}
