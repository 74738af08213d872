//! One connection, as connection tracking lists it (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::netlink::attributes::{Attributes, push_attribute};
use crate::policy::Protocol;

/// `struct nfgenmsg`: family, version, resource id.
pub(super) const HEADER: usize = 4;

/// Attributes of an entry.
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
pub(super) const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// Attributes of a tuple, of its addresses and of its ports.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const V4_SRC: u16 = 1;
const V4_DST: u16 = 2;
const V6_SRC: u16 = 3;
const V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
/// `NLA_F_NESTED`
const NESTED: u16 = 1 << 15;

/// `IPS_SRC_NAT`, `IPS_DST_NAT` (`include/uapi/linux/netfilter/nf_conntrack_common.h`).
const TRANSLATED: u32 = 1 << 4 | 1 << 5;

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tuple {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) protocol: Protocol,
    /// As its first packet arrived.
    pub(super) original: Tuple,
    /// As an answer arrives: from where the connection really leads.
    pub(super) reply: Tuple,
    /// Its source or destination is another on either side of this host.
    pub(super) translated: bool,
    /// Rules may route by it.
    pub(super) mark: u32,
    /// The attributes that name it to the kernel, with their headers: tuple, zone, id.
    name: Vec<u8>,
    family: u8,
}

impl Entry {
    /// `None`: neither TCP nor UDP, or something that this version does not understand.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let family = *body.first()?;
        let attributes = Attributes(body.get(HEADER..)?);
        let original = attributes.get(TUPLE_ORIG)?;
        let (protocol, tuple) = parse_tuple(original)?;
        let (_, reply) = parse_tuple(attributes.get(TUPLE_REPLY)?)?;
        let number = |kind| attributes.get(kind).and_then(be32);
        let mut name = Vec::new();
        push_attribute(&mut name, TUPLE_ORIG | NESTED, original);
        for kind in [ZONE, ID] {
            if let Some(value) = attributes.get(kind) {
                push_attribute(&mut name, kind, value);
            }
        }
        Some(Self {
            protocol,
            original: tuple,
            reply,
            translated: number(STATUS)? & TRANSLATED != 0,
            mark: number(MARK).unwrap_or_default(),
            name,
            family,
        })
    }

    /// A request about this very entry.
    pub(super) fn request(&self) -> Vec<u8> {
        [&[self.family, 0, 0, 0], self.name.as_slice()].concat()
    }
}

fn parse_tuple(bytes: &[u8]) -> Option<(Protocol, Tuple)> {
    let tuple = Attributes(bytes);
    let addresses = Attributes(tuple.get(TUPLE_IP)?);
    let transport = Attributes(tuple.get(TUPLE_PROTO)?);
    let address = |v4, v6| match addresses.get(v4) {
        Some(octets) => Some(IpAddr::V4(Ipv4Addr::from_octets(*octets.first_chunk()?))),
        None => Some(IpAddr::V6(Ipv6Addr::from_octets(*addresses.get(v6)?.first_chunk()?))),
    };
    let port = |kind| Some(u16::from_be_bytes(*transport.get(kind)?.first_chunk()?));
    let number = *transport.get(PROTO_NUM)?.first()?;
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.number() == number)?;
    let from = SocketAddr::new(address(V4_SRC, V6_SRC)?, port(PROTO_SRC_PORT)?);
    let to = SocketAddr::new(address(V4_DST, V6_DST)?, port(PROTO_DST_PORT)?);
    Some((protocol, Tuple { from, to }))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nest(kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut inside = Vec::new();
        for (kind, value) in attributes {
            push_attribute(&mut inside, *kind, value);
        }
        let mut out = Vec::new();
        push_attribute(&mut out, kind | NESTED, &inside);
        out
    }

    fn tuple(kind: u16, protocol: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let (src, dst) = if from.is_ipv4() { (V4_SRC, V4_DST) } else { (V6_SRC, V6_DST) };
        let addresses = nest(TUPLE_IP, &[(src, octets(from.ip())), (dst, octets(to.ip()))]);
        let ports = nest(
            TUPLE_PROTO,
            &[
                (PROTO_NUM, vec![protocol]),
                (PROTO_SRC_PORT, from.port().to_be_bytes().to_vec()),
                (PROTO_DST_PORT, to.port().to_be_bytes().to_vec()),
            ],
        );
        let mut out = Vec::new();
        push_attribute(&mut out, kind | NESTED, &[addresses, ports].concat());
        out
    }

    /// What the kernel would list of a connection.
    fn message(
        protocol: u8,
        original: (SocketAddr, SocketAddr),
        reply: (SocketAddr, SocketAddr),
        status: u32,
    ) -> Vec<u8> {
        let mut body = vec![if original.0.is_ipv4() { 2 } else { 10 }, 0, 0, 0];
        body.extend(tuple(TUPLE_ORIG, protocol, original.0, original.1));
        body.extend(tuple(TUPLE_REPLY, protocol, reply.0, reply.1));
        push_attribute(&mut body, STATUS, &status.to_be_bytes());
        push_attribute(&mut body, ID, &7_u32.to_be_bytes());
        push_attribute(&mut body, ZONE, &3_u16.to_be_bytes());
        body
    }

    /// A TCP connection from `client` to `seen`, which leads to `server`.
    pub(in crate::flows) fn entry(client: &str, seen: &str, server: &str) -> Entry {
        let [client, seen, server] = [client, seen, server].map(|text| text.parse().unwrap());
        let status = if seen == server { 0 } else { 1 << 5 };
        Entry::parse(&message(6, (client, seen), (server, client), status)).unwrap()
    }

    #[test]
    fn an_entry_is_read_and_named_as_the_kernel_named_it() {
        for (client, seen, server) in [
            ("203.0.113.9:40000", "203.0.113.1:8080", "172.17.0.2:11434"),
            ("[2001:db8::9]:40000", "[2001:db8::1]:8080", "[fd17::2]:11434"),
        ] {
            let entry = entry(client, seen, server);
            assert!(entry.translated);
            assert_eq!(entry.original.from.to_string(), client);
            assert_eq!(entry.original.to.to_string(), seen);
            assert_eq!(entry.reply.from.to_string(), server);
            let request = entry.request();
            let attributes = Attributes(&request[HEADER..]);
            assert_eq!(attributes.get(ZONE), Some([0, 3].as_slice()));
            assert_eq!(attributes.get(ID), Some([0, 0, 0, 7].as_slice()));
            assert_eq!(parse_tuple(attributes.get(TUPLE_ORIG).unwrap()), Some((Protocol::Tcp, entry.original)));
        }
        let [a, b] = ["10.0.0.1:1", "10.0.0.2:2"].map(|text| text.parse().unwrap());
        assert_eq!(Entry::parse(&message(47, (a, b), (b, a), 0)), None, "GRE has no ports");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Entry::parse(&bytes);
        }
    }
}
