//! Reading netlink's wire format: messages and attributes in a byte slice, without a copy.
//!
//! Written here rather than taken from a crate because of what must happen with something unknown. The
//! netlink crates decode every attribute of a link and drop the whole message when one of them does not
//! decode (a name that is not UTF-8, an attribute a newer kernel made longer): the guard would not see that
//! interface. This reader takes the dozen attributes it knows and steps over the rest.

/// Bits of an attribute's type that are flags: `~NLA_TYPE_MASK` (`include/uapi/linux/netlink.h`).
const TYPE_MASK: u16 = 0x3fff;
const ATTRIBUTE_HEADER: usize = 4;
/// `struct nlmsghdr`.
pub(crate) const MESSAGE_HEADER: usize = 16;

/// Netlink pads every message and attribute to four bytes (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
pub(crate) const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// The attributes in a slice, as (type, payload). Ends at the first one that does not fit.
#[derive(Clone)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let payload = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some((kind, payload))
    }
}

impl<'a> Attributes<'a> {
    /// The payload of the first attribute of this type.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(found, payload)| (found == kind).then_some(payload))
    }
}

/// One message: its header's fields and what follows the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in one datagram. Ends at the first one that does not fit.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            body: self.0.get(MESSAGE_HEADER..length)?,
        };
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

/// Appends an attribute and its padding.
pub(crate) fn push_attribute(out: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    // Requests hold a few integers and a family name; an attribute cannot come near 64 KiB.
    let length = u16::try_from(ATTRIBUTE_HEADER + payload.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(payload);
    out.resize(align(out.len()), 0);
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..)?.first_chunk().copied()?))
}

/// Bytes up to the closing NUL.
pub(crate) fn text(payload: &[u8]) -> &[u8] {
    payload.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_back_as_written_flags_aside() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 3, b"eth0\0");
        push_attribute(&mut bytes, 0x8000 | 4, &1500_u32.to_ne_bytes());
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.get(3).map(text), Some(b"eth0".as_slice()));
        assert_eq!(attributes.get(4).and_then(|mtu| u32_at(mtu, 0)), Some(1500));
        assert_eq!(attributes.get(5), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_or_a_hang(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER + 1);
            prop_assert!(Messages(&bytes).count() <= bytes.len() / MESSAGE_HEADER + 1);
        }
    }
}
