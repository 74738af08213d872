//! Named sets and what they hold.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::interval::{self, Edge, Range};
use super::{AddressType, Family};
use crate::policy::{InterfaceName, NamePattern, Protocol};

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its type and what it holds.
    pub elements: Elements,
}

/// What a set holds; the variant is its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elements {
    /// `type ifname; flags interval`: names and prefixes.
    Names(BTreeSet<NamePattern>),
    /// `type ifname . ifname`: each name paired with itself.
    Inside(BTreeSet<InterfaceName>),
    /// `type inet_proto . inet_service`
    Ports(BTreeSet<(Protocol, u16)>),
    /// `type ipv4_addr . inet_proto . inet_service`
    V4Endpoints(BTreeSet<(Ipv4Addr, Protocol, u16)>),
    /// `type ipv6_addr . inet_proto . inet_service`
    V6Endpoints(BTreeSet<(Ipv6Addr, Protocol, u16)>),
    /// `type ipv4_addr; flags interval`
    V4(BTreeSet<Ipv4Net>),
    /// `type ipv6_addr; flags interval`
    V6(BTreeSet<Ipv6Net>),
    /// `type fib_addrtype`
    Addresses(BTreeSet<AddressType>),
    /// `type ifname; flags dynamic`: filled by the rules, one counter an interface; at most
    /// [`Elements::MAX_COUNTED`].
    Counted,
    /// `type ipv4_addr . inet_service . ipv4_addr . inet_service; flags dynamic,timeout` (or of IPv6): connections that began
    /// on this side, filled by the rules; the other side's end comes first. At most [`Elements::MAX_CONVERSATIONS`].
    Conversations(Family),
}

impl Elements {
    /// Interfaces counted by name in one set. Strangers cannot make interfaces, so this is not a bound that an
    /// attack reaches; what exceeds it is in the named counter all the same.
    pub const MAX_COUNTED: u32 = 4096;

    /// Connections noted at a time. A user of this host can fill the set, and then answers are missing: a kindness.
    pub const MAX_CONVERSATIONS: u32 = 4096;
    /// Milliseconds after which a connection that was not heard of is forgotten: a day.
    pub const CONVERSATION_TIMEOUT: u64 = 86_400_000;

    /// Do the rules fill it?
    pub const fn is_dynamic(&self) -> bool {
        matches!(self, Self::Counted | Self::Conversations(_))
    }

    /// Does the kernel keep intervals (`NFT_SET_INTERVAL`), whose ends are elements too?
    pub fn is_interval(&self) -> bool {
        matches!(self, Self::Names(_) | Self::V4(_) | Self::V6(_))
    }

    /// So many that neither reading nor writing all of them for nothing will do: the kernel walks a set from its start
    /// for every few hundred elements that it dumps (`nf_tables_dump_set`).
    pub fn is_long(&self) -> bool {
        match self {
            Self::V4(networks) => networks.len() > LONG,
            Self::V6(networks) => networks.len() > LONG,
            _ => false,
        }
    }

    /// The elements as the kernel holds them, sorted.
    pub fn edges(&self) -> Vec<Edge> {
        match self {
            Self::Names(_) | Self::V4(_) | Self::V6(_) => interval::edges(self.ranges()),
            Self::Inside(names) => points(names.iter().map(|name| {
                let padded = interval::padded(name.as_str().as_bytes(), 0);
                [padded.clone(), padded].concat()
            })),
            Self::Ports(ports) => points(ports.iter().map(|(protocol, port)| place(&[], *protocol, *port))),
            Self::V4Endpoints(ends) => {
                points(ends.iter().map(|(ip, protocol, port)| place(&ip.octets(), *protocol, *port)))
            }
            Self::V6Endpoints(ends) => {
                points(ends.iter().map(|(ip, protocol, port)| place(&ip.octets(), *protocol, *port)))
            }
            Self::Addresses(kinds) => points(kinds.iter().map(|kind| kind.number().to_ne_bytes().to_vec())),
            Self::Counted | Self::Conversations(_) => Vec::new(),
        }
    }

    /// What has to go and what has to come to make of these elements others of the same type.
    pub fn changes(&self, after: &Self) -> (Vec<Edge>, Vec<Edge>) {
        let (before, after) = (self.ranges(), after.ranges());
        let only = |these: &[_], those: &[_]| interval::edges(interval::without(these, those));
        (only(&before, &after), only(&after, &before))
    }

    fn ranges(&self) -> Vec<Range> {
        match self {
            Self::Names(patterns) => interval::union(patterns.iter().map(interval::of_pattern)),
            Self::V4(networks) => interval::union(
                networks.iter().map(|one| (one.network().octets().to_vec(), one.broadcast().octets().to_vec())),
            ),
            Self::V6(networks) => interval::union(
                networks.iter().map(|one| (one.network().octets().to_vec(), one.broadcast().octets().to_vec())),
            ),
            _ => Vec::new(),
        }
    }
}

/// See [`Elements::is_long`].
const LONG: usize = 4096;

/// The fields of a concatenation are padded to words.
fn place(address: &[u8], protocol: Protocol, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [address, &[protocol.number(), 0, 0, 0, high, low, 0, 0]].concat()
}

fn points(keys: impl Iterator<Item = Vec<u8>>) -> Vec<Edge> {
    keys.map(|key| Edge { key, is_end: false }).collect()
}
