//! Sets and their elements.

use nftnl::nftnl_sys as sys;

use super::FAMILY;
use crate::seatbelt::object::{Kind, Object};
use crate::seatbelt::ruleset::{Edge, Elements, Family, Set};

// Flags of a set and of an element (`include/uapi/linux/netfilter/nf_tables.h`).
const INTERVAL: u32 = 0x4;
const TIMEOUT: u32 = 0x10;
const DYNAMIC: u32 = 0x20;
const ELEMENT_INTERVAL_END: u32 = 0x1;

// Data types: the kernel only keeps them, `nft` prints by them (`include/datatype.h` of nftables).
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;
const TYPE_FIB_ADDRESS: u32 = 38;
const TYPE_INTERFACE_NAME: u32 = 41;
/// Bits of one type in a concatenation.
const TYPE_BITS: u32 = 6;

/// Elements in one message: its list must fit into one attribute of 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 512;

/// The set without its elements. `id` tells the sets of one batch apart.
pub(in crate::seatbelt) fn set(table: &str, set: &Set, id: u32) -> Object {
    let (kind, length) = match set.elements {
        Elements::Names(_) | Elements::Counted => (TYPE_INTERFACE_NAME, 16u32),
        Elements::Inside(_) => (TYPE_INTERFACE_NAME << TYPE_BITS | TYPE_INTERFACE_NAME, 32),
        Elements::Ports(_) => (TYPE_PROTOCOL << TYPE_BITS | TYPE_SERVICE, 8),
        Elements::V4Endpoints(_) => (TYPE_IPV4 << (2 * TYPE_BITS) | TYPE_PROTOCOL << TYPE_BITS | TYPE_SERVICE, 12),
        Elements::V6Endpoints(_) => (TYPE_IPV6 << (2 * TYPE_BITS) | TYPE_PROTOCOL << TYPE_BITS | TYPE_SERVICE, 24),
        Elements::V4(_) => (TYPE_IPV4, 4),
        Elements::V6(_) => (TYPE_IPV6, 16),
        Elements::Addresses(_) => (TYPE_FIB_ADDRESS, 4),
        Elements::Conversations(Family::V4) => (ends(TYPE_IPV4), 16),
        Elements::Conversations(Family::V6) => (ends(TYPE_IPV6), 40),
    };
    let flags = match set.elements {
        Elements::Counted => DYNAMIC,
        Elements::Conversations(_) => DYNAMIC | TIMEOUT,
        _ if set.elements.is_interval() => INTERVAL,
        _ => 0,
    };
    let object = by_name(Kind::Set, table, &set.name)
        .with(sys::NFTNL_SET_FLAGS, flags)
        .with(sys::NFTNL_SET_KEY_TYPE, kind)
        .with(sys::NFTNL_SET_KEY_LEN, length)
        .with(sys::NFTNL_SET_ID, id);
    match set.elements {
        Elements::Counted => object.with(sys::NFTNL_SET_DESC_SIZE, Elements::MAX_COUNTED),
        Elements::Conversations(_) => object
            .with(sys::NFTNL_SET_DESC_SIZE, Elements::MAX_CONVERSATIONS)
            .with(sys::NFTNL_SET_TIMEOUT, Elements::CONVERSATION_TIMEOUT),
        _ => object,
    }
}

/// Address and port, twice.
const fn ends(address: u32) -> u32 {
    address << (3 * TYPE_BITS) | TYPE_SERVICE << (2 * TYPE_BITS) | address << TYPE_BITS | TYPE_SERVICE
}

/// A set by name; as [`Kind::Element`], its elements (none: all of them).
pub(in crate::seatbelt) fn by_name(kind: Kind, table: &str, name: &str) -> Object {
    Object::new(kind)
        .with(sys::NFTNL_SET_TABLE, table)
        .with(sys::NFTNL_SET_NAME, name)
        .with(sys::NFTNL_SET_FAMILY, FAMILY)
}

/// Elements of a set, in as many messages as they need.
pub(in crate::seatbelt) fn element_messages(table: &str, set: &str, edges: Vec<Edge>) -> Vec<Object> {
    let elements: Vec<Object> = (edges.into_iter())
        .map(|edge| {
            let element = Object::new(Kind::Element).with(sys::NFTNL_SET_ELEM_KEY, edge.key);
            if edge.is_end { element.with(sys::NFTNL_SET_ELEM_FLAGS, ELEMENT_INTERVAL_END) } else { element }
        })
        .collect();
    elements
        .chunks(ELEMENTS_PER_MESSAGE)
        .map(|chunk| by_name(Kind::Element, table, set).containing(chunk.iter().cloned()))
        .collect()
}
