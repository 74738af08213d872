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

/// A packet up to where its IP header says that it ends. What a frame holds behind that is padding, which the kernel
/// takes off before anybody reads (`ip_rcv_core`, `ip6_rcv_core`).
pub(crate) struct Bounded<'a, P: ?Sized> {
    packet: &'a P,
    end: usize,
}

impl<'a, P: Packet + ?Sized> Bounded<'a, P> {
    /// Ends `length` bytes behind `from`.
    #[inline(always)]
    pub(crate) const fn new(packet: &'a P, from: usize, length: Length) -> Self {
        Self { packet, end: from.wrapping_add(length.0) }
    }
}

impl<P: Packet + ?Sized> Packet for Bounded<'_, P> {
    #[inline(always)]
    fn read<T: FromBytes>(&self, offset: usize) -> Option<T> {
        // A comparison of the two would tell the verifier something about both, which it has to carry on every way.
        let left = self.end.wrapping_sub(offset + size_of::<T>());
        if left.cast_signed() < 0 { None } else { self.packet.read(offset) }
    }
}

/// How many bytes the length field of an IP header speaks of.
#[derive(Clone, Copy)]
pub(crate) struct Length(usize);

impl Length {
    /// More than any frame has: a jumbogram (RFC 2675), or what was merged into one ("BIG TCP").
    const FRAME: Self = Self(1 << 30);

    /// Of the field's number. Zero says nothing.
    #[inline(always)]
    pub(crate) const fn of(field: u16) -> Self {
        if field == 0 { Self::FRAME } else { Self(field as usize) }
    }

    /// The same less what does not fill eight bytes behind the first `header` bytes: of a fragment that is not the last,
    /// Linux takes no more (`ip_frag_queue`, `net/ipv4/ip_fragment.c`).
    #[inline(always)]
    pub(crate) const fn in_eights_behind(self, header: usize) -> Self {
        Self((self.0.wrapping_sub(header) & !7).wrapping_add(header))
    }
}

/// The big-endian 16-bit number at `at` in a header.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}
