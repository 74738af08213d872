//! Two questions of ethtool's netlink family (kernel 5.6 and later; `Documentation/networking/ethtool-netlink.rst`).

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::family::NamedFamily;
use crate::netlink::NetlinkError;
use crate::netlink::attributes::{Attributes, push_attribute, text, u32_at};

/// `include/uapi/linux/ethtool_netlink.h`.
static ETHTOOL: NamedFamily = NamedFamily::new("ethtool");
const MSG_FEATURES_GET: u8 = 11;
const MSG_CHANNELS_GET: u8 = 17;
const A_HEADER: u16 = 1;
const A_HEADER_DEV_INDEX: u16 = 1;
const A_FEATURES_HW: u16 = 2;
const A_FEATURES_ACTIVE: u16 = 4;
const A_BITSET_BITS: u16 = 3;
const A_BITSET_BITS_BIT: u16 = 1;
const A_BITSET_BIT_NAME: u16 = 2;
const A_BITSET_BIT_VALUE: u16 = 3;
const A_BITSET_NOMASK: u16 = 1;
/// The first of eight in a row: possible, then in use, each for receiving, sending, other, combined.
const A_CHANNELS_RX_MAX: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;

/// Offloads and the like, by ethtool's names.
pub(super) struct Features {
    pub(super) active: BTreeSet<String>,
    pub(super) switchable: BTreeSet<String>,
}

/// How many queues a device uses and could use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are ethtool's
pub struct Channels {
    pub rx: u32,
    pub tx: u32,
    pub other: u32,
    pub combined: u32,
    pub rx_max: u32,
    pub tx_max: u32,
    pub other_max: u32,
    pub combined_max: u32,
}

pub(super) fn features(index: u32) -> Result<Features, NetlinkError> {
    let mut features = None;
    let what = format!("read the features of interface {index}");
    ask(&what, index, MSG_FEATURES_GET, |reply| {
        let set = |kind| reply.get(kind).map(bits).ok_or("a feature set is missing");
        features = Some(Features { active: set(A_FEATURES_ACTIVE)?, switchable: set(A_FEATURES_HW)? });
        Ok(())
    })?;
    features.ok_or(NetlinkError::Malformed { what, detail: "it is empty" })
}

/// `None` where the driver has no such notion.
pub(super) fn channels(index: u32) -> Result<Option<Channels>, NetlinkError> {
    let mut channels = Channels::default();
    let asked = ask(&format!("read the queues of interface {index}"), index, MSG_CHANNELS_GET, |reply| {
        let number = |place| reply.get(A_CHANNELS_RX_MAX + place).and_then(|n| u32_at(n, 0)).unwrap_or_default();
        channels = Channels {
            rx_max: number(0),
            tx_max: number(1),
            other_max: number(2),
            combined_max: number(3),
            rx: number(4),
            tx: number(5),
            other: number(6),
            combined: number(7),
        };
        Ok(())
    });
    match asked {
        Ok(()) => Ok(Some(channels)),
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names of the bits that are set. A set sent without a mask lists only those; one with a mask marks them.
fn bits(set: &[u8]) -> BTreeSet<String> {
    let set = Attributes(set);
    let only_set_ones = set.get(A_BITSET_NOMASK).is_some();
    Attributes(set.get(A_BITSET_BITS).unwrap_or_default())
        .filter(|&(kind, _)| kind == A_BITSET_BITS_BIT)
        .map(|(_, bit)| Attributes(bit))
        .filter(|bit| only_set_ones || bit.get(A_BITSET_BIT_VALUE).is_some())
        .filter_map(|bit| bit.get(A_BITSET_BIT_NAME))
        .map(|name| String::from_utf8_lossy(text(name)).into_owned())
        .collect()
}

fn ask(
    what: &str,
    index: u32,
    command: u8,
    read: impl FnMut(&Attributes<'_>) -> Result<(), &'static str>,
) -> Result<(), NetlinkError> {
    let mut header = Vec::new();
    push_attribute(&mut header, A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    let mut attributes = Vec::new();
    push_attribute(&mut attributes, A_HEADER | NLA_F_NESTED, &header);
    ETHTOOL.ask(what, command, &attributes, read)
}
