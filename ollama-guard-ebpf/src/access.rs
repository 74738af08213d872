//! Reading packets from the kernel's side.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_pull_data};
use ollama_guard_common::Packet;
use zerocopy::FromBytes;

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
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        const { assert!(align_of::<T>() <= 2) };
        if offset > MAX_OFFSET {
            return None;
        }
        let at = self.start + offset;
        if at + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the value lies within the packet, as just compared; the verifier proves it again, and that it is
        // aligned where the machine needs that. Packets begin at even addresses and headers at even offsets.
        Some(unsafe { (at as *const T).read() })
    }
}

/// A frame at TC by copies: reaches page fragments, where the headers may lie.
pub(crate) struct Frame {
    /// The context.
    pub(crate) skb: *mut __sk_buff,
}

impl Packet for Frame {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let (to, length) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: the kernel writes as many bytes as the value has.
        let result = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, to, length) };
        // SAFETY: it has written them, and any bytes are a value.
        if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
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
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        /// `BPF_HDR_START_NET`, `include/uapi/linux/bpf.h`.
        const NETWORK: u32 = 1;
        let mut value = MaybeUninit::<T>::uninit();
        let (to, length) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: the kernel writes as many bytes as the value has.
        let result = unsafe { bpf_skb_load_bytes_relative(self.skb.cast(), offset as u32, to, length, NETWORK) };
        // SAFETY: it has written them, and any bytes are a value.
        if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
    }
}
