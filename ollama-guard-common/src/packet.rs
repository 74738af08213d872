//! Bounded reads: the one thing the classifier needs from a packet.

/// Bytes that can be read at an offset. Implemented for byte slices here and, in the kernel programs, for what
/// XDP and TC can reach of a packet.
pub trait Packet {
    /// The `N` bytes at `offset`, or `None` if the packet ends before them.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Packet for [u8] {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        self.get(offset..end)?.try_into().ok()
    }
}

/// The big-endian 16-bit number at `at` in a header.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
