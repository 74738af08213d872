//! One interface out of an `RTM_NEWLINK` message (rtnetlink(7), `include/uapi/linux/if_link.h`).

use super::{AttachedXdp, Elsewhere, Hardware, Kind, Link, Mtu, Queues, XdpMode, name};
use crate::netlink::attributes::{Attributes, text, u16_at, u32_at};
use crate::policy::InterfaceName;

/// `struct ifinfomsg`.
const HEADER: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_PARENT_DEV_NAME: u16 = 56;

/// The attribute of each place an XDP program can sit in. The kernel also reports a summary (`IFLA_XDP_ATTACHED`,
/// `IFLA_XDP_PROG_ID`), which names no program when several are attached.
const XDP_PROGRAMS: [(u16, XdpMode); 3] = [(5, XdpMode::Native), (6, XdpMode::Generic), (7, XdpMode::Offload)];

/// `include/uapi/linux/if.h`, `include/uapi/linux/if_arp.h`.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
/// Of [`IFLA_AF_SPEC`]: by address family, and there the array of settings, `forwarding` first in both families
/// (`IPV4_DEVCONF_FORWARDING`, `include/uapi/linux/ip.h`; `DEVCONF_FORWARDING`, `include/uapi/linux/ipv6.h`).
const SETTINGS: [(u16, u16); 2] = [(2, 1), (10, 2)];
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

pub(super) fn parse(body: &[u8]) -> Result<Link, &'static str> {
    let hardware = match u16_at(body, 2).ok_or("a link without a header")? {
        ARPHRD_ETHER => Hardware::Ethernet,
        ARPHRD_LOOPBACK => Hardware::Loopback,
        other => Hardware::Other(other),
    };
    let index = u32_at(body, 4).filter(|&index| index != 0).ok_or("a link without an index")?;
    let flags = u32_at(body, 8).ok_or("a link without flags")?;
    let attributes = Attributes(body.get(HEADER..).ok_or("a link without attributes")?);

    let number = |kind| attributes.get(kind).and_then(|payload| u32_at(payload, 0));
    let another = |kind| number(kind).filter(|&other| other != 0 && other != index);
    let (name, raw_name) = name::read(text(attributes.get(IFLA_IFNAME).unwrap_or_default()), index);
    let kind = match attributes.get(IFLA_LINKINFO) {
        None if flags & IFF_LOOPBACK != 0 => Kind::Loopback,
        info => Kind::parse(info.unwrap_or_default(), hardware == Hardware::Ethernet),
    };
    let elsewhere = number(IFLA_LINK_NETNSID).map(|id| Elsewhere { id: id.cast_signed(), inside: false });
    let families = Attributes(attributes.get(IFLA_AF_SPEC).unwrap_or_default());
    let forwards = |(family, settings)| {
        let settings = Attributes(families.get(family).unwrap_or_default()).get(settings);
        settings.and_then(|settings| u32_at(settings, 0)).is_some_and(|forwarding| forwarding != 0)
    };

    Ok(Link {
        index,
        name,
        raw_name,
        kind,
        hardware,
        up: flags & IFF_UP != 0,
        master: another(IFLA_MASTER),
        lower: another(IFLA_LINK).filter(|_| elsewhere.is_none()),
        elsewhere,
        virtio: attributes.get(IFLA_LINKINFO).is_some_and(Kind::virtio),
        forwards: SETTINGS.into_iter().any(forwards),
        uses: std::collections::BTreeSet::new(),
        address: attributes.get(IFLA_ADDRESS).unwrap_or_default().into(),
        mtu: Mtu {
            current: number(IFLA_MTU).unwrap_or_default(),
            min: number(IFLA_MIN_MTU),
            max: number(IFLA_MAX_MTU),
        },
        queues: Queues { rx: number(IFLA_NUM_RX_QUEUES), tx: number(IFLA_NUM_TX_QUEUES) },
        physical: attributes.get(IFLA_PARENT_DEV_NAME).is_some(),
        takes_fragments: false,
        other_names: attributes.get(IFLA_PROP_LIST).map(other_names).unwrap_or_default(),
        ipvlan_elsewhere: false,
        xdp: attributes.get(IFLA_XDP).map(programs).unwrap_or_default(),
    })
}

fn other_names(properties: &[u8]) -> Vec<InterfaceName> {
    let names = Attributes(properties).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
    names.filter_map(|(_, name)| std::str::from_utf8(text(name)).ok()?.parse().ok()).collect()
}

fn programs(xdp: &[u8]) -> Vec<AttachedXdp> {
    let xdp = Attributes(xdp);
    XDP_PROGRAMS
        .iter()
        .filter_map(|&(attribute, mode)| {
            let program_id = xdp.get(attribute).and_then(|id| u32_at(id, 0)).filter(|&id| id != 0)?;
            Some(AttachedXdp { mode, program_id })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::attributes::push_attribute;

    fn message(hardware: u16, index: u32, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(&hardware.to_ne_bytes());
        bytes.extend_from_slice(&index.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for (kind, payload) in attributes {
            push_attribute(&mut bytes, *kind, payload);
        }
        bytes
    }

    #[test]
    fn a_link_without_a_name_is_still_a_link() {
        let link = parse(&message(1, 7, 1, &[])).unwrap();
        assert_eq!((link.name.as_str(), link.raw_name.is_some(), link.up), ("?7", true, true));
        assert_eq!(link.kind, Kind::Physical);
        assert!(!link.physical);
    }

    #[test]
    fn a_program_that_calls_its_device_loopback_does_not_make_it_so() {
        let mut tun = Vec::new();
        push_attribute(&mut tun, 1, b"tun\0");
        let link = parse(&message(772, 7, 1, &[(IFLA_IFNAME, b"lo\0"), (IFLA_LINKINFO, &tun)])).unwrap();
        assert_eq!((link.kind, link.hardware), (Kind::Tun, Hardware::Loopback));
        assert_eq!(parse(&message(772, 1, 9, &[])).unwrap().kind, Kind::Loopback);
    }

    #[test]
    fn the_index_of_a_lower_device_in_another_namespace_means_nothing_here() {
        let two = 2_u32.to_ne_bytes();
        let here = parse(&message(1, 7, 1, &[(IFLA_LINK, &two)])).unwrap();
        let there = parse(&message(1, 7, 1, &[(IFLA_LINK, &two), (IFLA_LINK_NETNSID, &[0; 4])])).unwrap();
        assert_eq!((here.lower, there.lower), (Some(2), None));
        assert_eq!((here.elsewhere, there.elsewhere.map(|elsewhere| elsewhere.id)), (None, Some(0)));
        assert_eq!(parse(&message(1, 2, 1, &[(IFLA_LINK, &two)])).unwrap().lower, None);
    }

    #[test]
    fn each_attached_program_is_listed() {
        let mut xdp = Vec::new();
        push_attribute(&mut xdp, 2, &[4]); // IFLA_XDP_ATTACHED: several
        push_attribute(&mut xdp, 5, &41_u32.to_ne_bytes());
        push_attribute(&mut xdp, 6, &42_u32.to_ne_bytes());
        let link = parse(&message(1, 7, 1, &[(IFLA_XDP, &xdp)])).unwrap();
        let native = AttachedXdp { mode: XdpMode::Native, program_id: 41 };
        assert_eq!(link.xdp, [native, AttachedXdp { mode: XdpMode::Generic, program_id: 42 }]);
    }

    #[test]
    fn forwarding_is_read_for_either_family() {
        for (family, settings) in SETTINGS {
            for on in [0_u32, 1] {
                let (mut inner, mut families) = (Vec::new(), Vec::new());
                push_attribute(&mut inner, settings, &[on.to_ne_bytes(), 7_u32.to_ne_bytes()].concat());
                push_attribute(&mut families, family, &inner);
                assert_eq!(parse(&message(1, 7, 1, &[(IFLA_AF_SPEC, &families)])).unwrap().forwards, on == 1);
            }
        }
    }

    #[test]
    fn other_names_are_those_that_a_configuration_can_spell() {
        let mut list = Vec::new();
        for name in [&b"enp3s0\0"[..], b"a-name-of-more-than-fifteen-bytes\0", b"\xff\0", b"eno1\0"] {
            push_attribute(&mut list, IFLA_ALT_IFNAME, name);
        }
        let link = parse(&message(1, 7, 1, &[(IFLA_PROP_LIST, &list)])).unwrap();
        assert_eq!(link.other_names.iter().map(InterfaceName::as_str).collect::<Vec<_>>(), ["enp3s0", "eno1"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_link_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}
