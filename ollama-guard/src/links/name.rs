//! Interface names as the kernel has them: bytes.

use crate::policy::InterfaceName;

/// The name for people, and the kernel's own bytes where that name is only a reading of them.
///
/// The kernel takes any bytes but `/`, `:` and white space (`dev_valid_name`, `net/core/dev.c`); the policy's
/// names are text. An odd name must neither hide its interface nor, by the way it is rendered, match a
/// trusted pattern: the second value marks it, and a marked link matches nothing.
pub(super) fn read(raw: &[u8], index: u32) -> (InterfaceName, Option<Box<[u8]>>) {
    let exact = std::str::from_utf8(raw).ok().and_then(|text| text.parse::<InterfaceName>().ok());
    match exact {
        Some(name) => (name, None),
        None => (readable(raw, index), Some(raw.into())),
    }
}

/// The name with `?` for every byte that cannot be shown; the index if nothing is left of it.
fn readable(raw: &[u8], index: u32) -> InterfaceName {
    let shown = |&byte: &u8| if byte.is_ascii_graphic() && !b"/:*".contains(&byte) { char::from(byte) } else { '?' };
    let text: String = raw.iter().map(shown).collect();
    text.parse().or_else(|_| format!("?{index}").parse()).unwrap_or_else(|_| never())
}

/// `?` and at most ten digits is a valid name.
fn never() -> InterfaceName {
    unreachable!("a question mark and a number are an interface name")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_kept_and_the_rest_is_marked() {
        assert_eq!(read(b"eth0.10", 2), ("eth0.10".parse().unwrap(), None));
        let (name, raw) = read(b"wg\xff0", 3);
        assert_eq!((name.as_str(), raw.as_deref()), ("wg?0", Some(b"wg\xff0".as_slice())));
        let (name, raw) = read(b"wg*", 4);
        assert_eq!((name.as_str(), raw.is_some()), ("wg?", true));
        assert_eq!(read(b"", 5).0.as_str(), "?5");
    }

    proptest! {
        #[test]
        fn every_name_has_a_reading(raw in prop::collection::vec(any::<u8>(), 0..40), index: u32) {
            let (name, marked) = read(&raw, index);
            prop_assert!(marked.is_some() || name.as_str().as_bytes() == raw);
        }
    }
}
