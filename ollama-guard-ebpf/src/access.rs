//! Reading packets from the kernel's side.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes_relative;
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
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let (to, length) = (value.as_mut_ptr().cast(), size_of::<T>() as u32);
        // SAFETY: the kernel writes as many bytes as the value has.
        let result = unsafe { bpf_skb_load_bytes_relative(self.skb.cast(), offset as u32, to, length, FROM) };
        // SAFETY: it has written them, and any bytes are a value.
        if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
    }
}
