//! What this host uses its interfaces for: its routing tables and addresses, as far as they tell an uplink from a
//! network of containers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Link;
use crate::netlink::attributes::{Attributes, u16_at, u32_at};
use crate::netlink::{Ask, Conversation, Family, NetlinkError};

/// One use of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// A default route leaves there, of whatever table, or one so broad that it is as good (`0.0.0.0/1`, `2000::/3`).
    DefaultRoute,
    /// A route leads to a router behind it: other networks are there.
    Router,
    /// One of its addresses was leased or made from an advertisement: it expires, so somebody else gave it.
    LeasedAddress,
    /// One of its addresses is a public IPv4 address.
    PublicAddress,
    /// Networks are on it.
    Network,
    /// This host has an address in that IPv4 network there: its first address and prefix length.
    Subnet(Ipv4Addr, u8),
    /// Single addresses are routed to it.
    Address,
    /// It could not be read what else.
    Unknown,
}

/// `include/uapi/linux/rtnetlink.h`, `include/uapi/linux/if_addr.h`.
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTN_UNICAST: u8 = 1;
const RTPROT_KERNEL: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const ROUTE_HEADER: usize = 12;
/// `struct rtnexthop`.
const NEXTHOP_HEADER: usize = 8;
const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_PERMANENT: u8 = 0x80;

/// Routes this broad are default routes in parts (OpenVPN's two halves, `2000::/3`).
const BROADEST: u8 = 3;
/// A router of the whole internet has a million. Above this many nothing is believed of any interface: reading them at
/// every change would take longer than the changes are apart.
const MOST_ROUTES: usize = 100_000;

type Uses = BTreeMap<u32, BTreeSet<Use>>;

/// Adds its uses to each link. What cannot be read is [`Use::Unknown`], which earns nothing.
pub(super) fn add(links: &mut [Link]) {
    let read = read();
    for link in links {
        match &read {
            Ok(uses) => link.uses = uses.get(&link.index).cloned().unwrap_or_default(),
            Err(_) => link.uses = BTreeSet::from([Use::Unknown]),
        }
    }
}

fn read() -> Result<Uses, NetlinkError> {
    let (mut kernel, mut uses) = (Conversation::open(Family::Route)?, Uses::new());
    for family in [AF_INET, AF_INET6] {
        let mut request = [0; ROUTE_HEADER];
        request[0] = family;
        let mut left = MOST_ROUTES;
        kernel.ask("list the routes", RTM_GETROUTE, Ask::Dump, &request, |body| {
            left = left.checked_sub(1).ok_or("there are more routes than are read")?;
            route(&mut uses, body).ok_or("a route that leads nowhere known")
        })?;
    }
    kernel.ask("list the addresses", RTM_GETADDR, Ask::Dump, &[0; ADDRESS_HEADER], |body| {
        address(&mut uses, body);
        Ok(())
    })?;
    Ok(uses)
}

/// `None`: where the route leads cannot be told (a nexthop object, with `net.ipv4.nexthop_compat_mode` off).
fn route(uses: &mut Uses, body: &[u8]) -> Option<()> {
    let &[family, length, _, _, _, protocol, _, kind, ..] = body else { return Some(()) };
    // Another family's, where the kernel has not the one asked for.
    if kind != RTN_UNICAST || ![AF_INET, AF_INET6].contains(&family) {
        return Some(());
    }
    let attributes = Attributes(body.get(ROUTE_HEADER..).unwrap_or_default());
    let destination = attributes.get(RTA_DST).unwrap_or_default();
    if family == AF_INET6 && length > BROADEST && is_local_v6(destination) {
        return Some(());
    }
    let what = match (family, length) {
        (_, ..=BROADEST) => Use::DefaultRoute,
        // To an address of the interface's own.
        (AF_INET6, 128) if protocol == RTPROT_KERNEL => return Some(()),
        (AF_INET, 32) | (AF_INET6, 128) => Use::Address,
        _ => Use::Network,
    };
    let mut leaves = |by: u32, attributes: Attributes<'_>| {
        let has_router = [RTA_GATEWAY, RTA_VIA].iter().any(|&router| attributes.get(router).is_some());
        let uses = uses.entry(by).or_default();
        uses.insert(if has_router && what != Use::DefaultRoute { Use::Router } else { what });
    };
    if let Some(by) = attributes.get(RTA_OIF).and_then(|by| u32_at(by, 0)) {
        leaves(by, attributes);
    } else if let Some(mut hops) = attributes.get(RTA_MULTIPATH) {
        while let (Some(length), Some(by)) = (u16_at(hops, 0).map(usize::from), u32_at(hops, 4)) {
            leaves(by, Attributes(hops.get(NEXTHOP_HEADER..length)?));
            hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    } else if attributes.get(RTA_NH_ID).is_some() {
        return None;
    }
    Some(())
}

/// Link-local and multicast networks are on every interface with IPv6.
fn is_local_v6(destination: &[u8]) -> bool {
    matches!(destination, [0xfe, second, ..] if second & 0xc0 == 0x80) || matches!(destination, [0xff, ..])
}

fn address(uses: &mut Uses, body: &[u8]) -> Option<()> {
    let &[family, prefix, flags, ..] = body else { return None };
    let uses = uses.entry(u32_at(body, 4)?).or_default();
    if flags & IFA_F_PERMANENT == 0 {
        uses.insert(Use::LeasedAddress);
    }
    let attributes = Attributes(body.get(ADDRESS_HEADER..)?);
    let own = attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS))?;
    let Some(own) = own.first_chunk().filter(|_| family == AF_INET) else { return Some(()) };
    let own = Ipv4Addr::from(*own);
    if is_public(own) {
        uses.insert(Use::PublicAddress);
    }
    // A single address, as pods' pairs have one, is on no network.
    if prefix < 32 {
        uses.insert(Use::Subnet(ipnet::Ipv4Net::new(own, prefix).ok()?.network(), prefix));
    }
    Some(())
}

/// None of those that networks of containers are given: RFC 1918, RFC 3927, RFC 6598.
fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && second & 0xc0 == 64;
    !(address.is_private() || address.is_link_local() || address.is_loopback() || is_shared)
}

#[cfg(test)]
mod tests;
