//! Bounded reads: the one thing the classifier needs from a packet.

use zerocopy::FromBytes;

/// Bytes that can be read at an offset. Implemented for byte slices here and, in the kernel programs, for what
/// XDP and TC can reach of a packet.
pub trait Packet {
    /// The value at `offset`, or `None` if the packet ends before its end.
    ///
    /// Headers begin at even offsets, so arrays of 16-bit numbers are what a kernel program reads fastest: of single
    /// bytes the compiler loads each by itself, and wider numbers not every machine can load from there.
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T>;
}

impl Packet for [u8] {
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let end = offset.checked_add(size_of::<T>())?;
        T::read_from_bytes(self.get(offset..end)?).ok()
    }
}

/// The big-endian 16-bit number at `at` in a header.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
