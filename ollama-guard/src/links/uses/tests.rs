//! What routes and addresses are read as.

use proptest::prelude::*;

use super::*;
use crate::netlink::attributes::push_attribute;

fn message(family: u8, length: u8, kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![family, length, 0, 0, 254, 4, 0, kind, 0, 0, 0, 0];
    for (kind, payload) in attributes {
        push_attribute(&mut body, *kind, payload);
    }
    body
}

fn uses_of(body: &[u8]) -> Vec<(u32, Use)> {
    let mut uses = Uses::new();
    route(&mut uses, body).unwrap();
    uses.into_iter().flat_map(|(by, uses)| uses.into_iter().map(move |what| (by, what))).collect()
}

const SEVEN: [u8; 4] = 7_u32.to_ne_bytes();

#[test]
fn a_route_is_a_default_route_or_leads_to_a_router_a_network_or_an_address() {
    let by = |family, length, extra: &[(u16, &[u8])]| {
        uses_of(&message(family, length, RTN_UNICAST, &[&[(RTA_OIF, SEVEN.as_slice())], extra].concat()))
    };
    let router: (u16, &[u8]) = (RTA_GATEWAY, &[10, 0, 0, 1]);
    assert_eq!(by(AF_INET, 0, &[router]), [(7, Use::DefaultRoute)]);
    assert_eq!(by(AF_INET, 0, &[]), [(7, Use::DefaultRoute)]);
    assert_eq!(by(AF_INET, 1, &[router, (RTA_DST, &[128, 0, 0, 0])]), [(7, Use::DefaultRoute)]);
    assert_eq!(by(AF_INET6, 3, &[(RTA_DST, &[0x20; 16])]), [(7, Use::DefaultRoute)]);
    assert_eq!(by(AF_INET, 8, &[router, (RTA_DST, &[10, 0, 0, 0])]), [(7, Use::Router)]);
    assert_eq!(by(AF_INET, 32, &[(RTA_VIA, &[10; 18]), (RTA_DST, &[10; 4])]), [(7, Use::Router)]);
    assert_eq!(by(AF_INET, 24, &[(RTA_DST, &[10, 0, 0, 0])]), [(7, Use::Network)]);
    assert_eq!(by(AF_INET, 32, &[(RTA_DST, &[10, 0, 0, 9])]), [(7, Use::Address)]);
    assert_eq!(by(AF_INET6, 128, &[(RTA_DST, &[0xfd; 16])]), [(7, Use::Address)]);
}

#[test]
fn what_every_interface_has_and_what_is_no_unicast_says_nothing() {
    let link_local = message(AF_INET6, 64, RTN_UNICAST, &[(RTA_OIF, &SEVEN), (RTA_DST, &[0xfe, 0x80, 0, 0])]);
    let multicast = message(AF_INET6, 8, RTN_UNICAST, &[(RTA_OIF, &SEVEN), (RTA_DST, &[0xff; 16])]);
    let own = message(AF_INET, 32, 2, &[(RTA_OIF, &SEVEN), (RTA_DST, &[10; 4])]);
    let blackhole = message(AF_INET, 0, 6, &[]);
    let mut own_v6 = message(AF_INET6, 128, RTN_UNICAST, &[(RTA_OIF, &SEVEN), (RTA_DST, &[0xfd; 16])]);
    own_v6[5] = RTPROT_KERNEL;
    for body in [link_local, multicast, own, own_v6, blackhole] {
        assert_eq!(uses_of(&body), []);
    }
}

#[test]
fn each_way_of_a_multipath_route_counts_and_one_that_cannot_be_followed_is_told() {
    let mut hop = Vec::new();
    push_attribute(&mut hop, RTA_GATEWAY, &[10, 0, 0, 1]);
    let length = u16::try_from(NEXTHOP_HEADER + hop.len()).unwrap().to_ne_bytes();
    let one = |by: u32| [&length[..], &[0, 0], &by.to_ne_bytes(), &hop].concat();
    let hops = [one(7), one(8)].concat();
    let found = uses_of(&message(AF_INET, 0, RTN_UNICAST, &[(RTA_MULTIPATH, &hops)]));
    assert_eq!(found, [(7, Use::DefaultRoute), (8, Use::DefaultRoute)]);
    let by_object = message(AF_INET, 0, RTN_UNICAST, &[(RTA_NH_ID, &SEVEN)]);
    assert_eq!(route(&mut Uses::new(), &by_object), None);
}

#[test]
fn an_address_that_expires_is_leased_and_a_public_one_is_told() {
    let read = |flags: u8, own: &[u8]| {
        let mut uses = Uses::new();
        let mut body = vec![AF_INET, 24, flags, 0, 7, 0, 0, 0];
        push_attribute(&mut body, IFA_LOCAL, own);
        address(&mut uses, &body).unwrap();
        uses.remove(&7).unwrap().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(read(IFA_F_PERMANENT, &[172, 17, 0, 1]), []);
    assert_eq!(read(0, &[192, 168, 1, 7]), [Use::LeasedAddress]);
    assert_eq!(read(IFA_F_PERMANENT, &[203, 0, 113, 1]), [Use::PublicAddress]);
    assert_eq!(read(IFA_F_PERMANENT, &[100, 64, 0, 1]), []);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_or_a_hang(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let _ = route(&mut Uses::new(), &bytes);
        let _ = address(&mut Uses::new(), &bytes);
    }
}
