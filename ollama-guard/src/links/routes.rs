//! The routes over some interfaces, of every routing table: VPN clients keep a default route in one of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::netlink::attributes::{Attributes, u16_at, u32_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};

/// `include/uapi/linux/rtnetlink.h`.
const RTM_GETROUTE: u16 = 26;
const RTN_UNICAST: u8 = 1;
/// A copy of a route for one destination.
const RTM_F_CLONED: u32 = 0x200;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// `struct rtmsg`.
const HEADER: usize = 12;
/// `struct rtnexthop`: length, flags, hops, interface.
const NEXT_HOP: usize = 8;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Routes kept per interface, the widest first: a router may have a million.
const MOST: usize = 10_000;

/// Destinations by interface index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<u32, Vec<IpNet>>);

impl Routes {
    /// Reads the unicast routes over these interfaces, in the calling thread's network namespace.
    pub fn read(over: &BTreeSet<u32>) -> Result<Self, NetlinkError> {
        let mut routes = Self::default();
        if over.is_empty() {
            return Ok(routes);
        }
        for family in [AF_INET, AF_INET6] {
            let mut request = [0; HEADER];
            request[0] = family;
            converse(Family::Route, "list the routes", RTM_GETROUTE, Ask::Dump, &request, |body| {
                if let Some((net, interfaces)) = parse(body) {
                    interfaces.filter(|index| over.contains(index)).for_each(|index| routes.add(index, net));
                }
                Ok(())
            })?;
        }
        Ok(routes)
    }

    fn add(&mut self, interface: u32, net: IpNet) {
        let nets = self.0.entry(interface).or_default();
        let place = nets.partition_point(|known| (known.prefix_len(), *known) < (net.prefix_len(), net));
        if nets.get(place) != Some(&net) && place < MOST {
            nets.insert(place, net);
            nets.truncate(MOST);
        }
    }

    /// Where the routes over this interface lead, the widest first.
    pub fn over(&self, interface: u32) -> &[IpNet] {
        self.0.get(&interface).map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<(u32, IpNet)> for Routes {
    fn from_iter<T: IntoIterator<Item = (u32, IpNet)>>(entries: T) -> Self {
        let mut routes = Self::default();
        entries.into_iter().for_each(|(interface, net)| routes.add(interface, net));
        routes
    }
}

/// The destination and the interfaces of one route; nothing if it is no unicast route.
fn parse(body: &[u8]) -> Option<(IpNet, impl Iterator<Item = u32>)> {
    let (&family, &length, &kind) = (body.first()?, body.get(1)?, body.get(7)?);
    if kind != RTN_UNICAST || u32_at(body, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let attributes = Attributes(body.get(HEADER..)?);
    let destination = attributes.get(RTA_DST);
    let address: IpAddr = match family {
        AF_INET => destination.map_or(Some([0; 4]), |bytes| bytes.try_into().ok()).map(Ipv4Addr::from)?.into(),
        AF_INET6 => destination.map_or(Some([0; 16]), |bytes| bytes.try_into().ok()).map(Ipv6Addr::from)?.into(),
        _ => return None,
    };
    let net = IpNet::new(address, length).ok()?.trunc();
    let single = attributes.get(RTA_OIF).and_then(|index| u32_at(index, 0));
    let several = NextHops(attributes.get(RTA_MULTIPATH).unwrap_or_default());
    Some((net, single.into_iter().chain(several)))
}

/// The interfaces of a route with several.
struct NextHops<'a>(&'a [u8]);

impl Iterator for NextHops<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let length = usize::from(u16_at(self.0, 0)?).max(NEXT_HOP);
        let interface = u32_at(self.0, 4)?;
        self.0 = self.0.get((length + 3) & !3..).unwrap_or_default();
        Some(interface)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::attributes::push_attribute;

    fn message(family: u8, length: u8, kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![family, length, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0];
        for (kind, payload) in attributes {
            push_attribute(&mut bytes, *kind, payload);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<(String, Vec<u32>)> {
        parse(bytes).map(|(net, interfaces)| (net.to_string(), interfaces.collect()))
    }

    #[test]
    fn routes_of_either_family_over_one_interface_or_several() {
        let seven = 7_u32.to_ne_bytes();
        assert_eq!(read(&message(2, 0, 1, &[(4, &seven)])), Some(("0.0.0.0/0".into(), vec![7])));
        let half = [128, 0, 0, 0];
        assert_eq!(read(&message(2, 1, 1, &[(1, &half), (4, &seven)])), Some(("128.0.0.0/1".into(), vec![7])));
        assert_eq!(read(&message(10, 0, 1, &[(4, &seven)])), Some(("::/0".into(), vec![7])));
        let hops = [&[16, 0, 0, 0, 8, 0, 0, 0, 8, 0, 5, 0, 1, 2, 3, 4][..], &[8, 0, 0, 0, 9, 0, 0, 0]].concat();
        assert_eq!(read(&message(2, 0, 1, &[(9, &hops)])), Some(("0.0.0.0/0".into(), vec![8, 9])));
        assert_eq!(read(&message(2, 32, 2, &[(4, &seven)])), None, "an address of this host");
    }

    #[test]
    fn the_widest_are_kept() {
        let mut routes: Routes = (0..12_000_u32).map(|n| (7, IpNet::new(IpAddr::V4(n.into()), 32).unwrap())).collect();
        routes.add(7, "0.0.0.0/0".parse().unwrap());
        assert_eq!((routes.over(7).len(), routes.over(7)[0].prefix_len()), (MOST, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_route_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            if let Some((_, interfaces)) = parse(&bytes) {
                prop_assert!(interfaces.count() <= bytes.len());
            }
        }
    }
}
