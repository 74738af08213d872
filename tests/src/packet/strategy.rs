//! Random packets: most of them nearly right, because packets of random bytes never get past the first check.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Extension, Fragment, Network, Packet, Tag, Transport, V4, V6, flags};

/// What addresses and ports are drawn from.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Source and destination addresses.
    pub v4: Vec<Ipv4Addr>,
    /// Source and destination addresses.
    pub v6: Vec<Ipv6Addr>,
    /// Destination ports.
    pub ports: Vec<u16>,
}

impl Pool {
    /// Documentation addresses, and these ports.
    pub fn of_ports(ports: &[u16]) -> Self {
        let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        Self {
            v4: vec![Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)],
            v6: vec![v6(9), v6(1), Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped()],
            ports: ports.to_vec(),
        }
    }
}

/// Where a fragment lies: whole, first, later or last.
pub fn fragment() -> impl Strategy<Value = Fragment> {
    select(vec![Fragment::WHOLE, Fragment::WHOLE, Fragment::FIRST, Fragment::LATER, Fragment::LAST])
}

/// An extension header; `fragments`: of which kinds fragment headers are.
pub fn extension(fragments: impl Strategy<Value = Fragment> + 'static) -> impl Strategy<Value = Extension> {
    let units = || prop_oneof![8 => 0_u8..4, 1 => any::<u8>()];
    prop_oneof![
        units().prop_map(Extension::HopByHop),
        units().prop_map(Extension::Destination),
        units().prop_map(Extension::Routing),
        (0_u8..8).prop_map(Extension::Authentication),
        fragments.prop_map(Extension::Fragment),
    ]
}

/// A packet's tags: mostly none, sometimes priority tags, rarely a VLAN.
pub fn tags() -> impl Strategy<Value = Vec<Tag>> {
    let tag = (any::<bool>(), 0_u8..8, prop_oneof![6 => Just(0_u16), 1 => 1_u16..4095]);
    let tag = tag.prop_map(|(outer, priority, vlan)| {
        let kind = if outer { 0x88a8 } else { 0x8100 };
        Tag { kind, priority, vlan }
    });
    prop_oneof![4 => Just(Vec::new()), 2 => vec(tag, 1..6)]
}

/// TCP or UDP, from any port to one of these; or something else.
pub fn transport(ports: Vec<u16>, others: u32) -> impl Strategy<Value = Transport> {
    let bits = select(vec![flags::SYN, flags::ACK, flags::RST, flags::FIN, flags::NULL, flags::XMAS]);
    let other = (select(vec![1_u8, 2, 47, 50, 58, 59, 89, 132, 136]), select(ports.clone()))
        .prop_map(|(number, port)| Transport::Other(number, [port, port]));
    let tcp = (any::<u16>(), select(ports.clone()), bits).prop_map(|(source, destination, flags)| Transport::Tcp {
        source,
        destination,
        flags,
    });
    let udp = (any::<u16>(), select(ports)).prop_map(|(source, destination)| Transport::Udp { source, destination });
    prop_oneof![6 => tcp, 3 => udp, others => other]
}

/// A packet of any kind the builder knows.
pub fn packet(pool: &Pool) -> impl Strategy<Value = Packet> + use<> {
    let chain = prop_oneof![2 => Just(Vec::new()), 4 => vec(extension(fragment()), 0..4), 1 => vec(extension(fragment()), 0..12)];
    let v4_chain = prop_oneof![
        4 => Just(Vec::new()),
        1 => (0_u8..8).prop_map(|units| vec![Extension::Authentication(units)]),
    ];
    let v6 = (select(pool.v6.clone()), select(pool.v6.clone()), prop_oneof![30 => Just(6_u8), 1 => 0_u8..16]);
    let v6 = (v6, chain)
        .prop_map(|((source, destination, version), chain)| (Network::V6(V6 { source, destination, version }), chain));
    let v4 = (select(pool.v4.clone()), select(pool.v4.clone()), v4_header())
        .prop_map(|(source, destination, header)| Network::V4(V4 { source, destination, ..header }));
    let network = prop_oneof![(v4, v4_chain), v6];
    let carried = prop_oneof![
        9 => transport(pool.ports.clone(), 1),
        1 => inner(pool).prop_map(|packet| Transport::Packet(Box::new(packet))),
    ];
    (network, tags(), carried, 0_usize..64, length(), trailer(pool)).prop_map(
        |((network, chain), tags, transport, payload, length, trailer)| {
            let packet = Packet { tags, network, chain, transport, payload, trailer, ..Packet::v4(0) };
            length.claim(packet)
        },
    )
}

/// A packet in a packet: plain, behind options or extension headers, with fields that nobody would write.
fn inner(pool: &Pool) -> impl Strategy<Value = Packet> + use<> {
    let v4 = v4_header().prop_map(|header| Packet { network: Network::V4(header), ..Packet::v4(0) });
    let v6 = (vec(extension(fragment()), 0..3), prop_oneof![8 => Just(6_u8), 1 => 0_u8..16])
        .prop_map(|(chain, version)| Packet::v6(0).behind(&chain).with_v6(|header| header.version = version));
    (prop_oneof![v4, v6], transport(pool.ports.clone(), 1), length())
        .prop_map(|(packet, transport, length)| length.claim(Packet { transport, ..packet }))
}

/// What a packet claims to be long.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// What it is.
    True,
    /// So much less.
    Less(u16),
    /// So much more.
    More(u16),
    /// Zero.
    Zero,
}

impl Length {
    fn claim(self, packet: Packet) -> Packet {
        let is = packet.network.length_field(packet.ip().len() - packet.network.size());
        match self {
            Self::True => packet,
            Self::Less(bytes) => packet.claiming(is.saturating_sub(bytes)),
            Self::More(bytes) => packet.claiming(is.saturating_add(bytes)),
            Self::Zero => packet.claiming(0),
        }
    }
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        12 => Just(Length::True),
        3 => (1_u16..80).prop_map(Length::Less),
        1 => (1_u16..80).prop_map(Length::More),
        1 => Just(Length::Zero),
    ]
}

/// What lies behind a packet in its frame: mostly nothing, or what a switch pads with, or what looks like more headers.
fn trailer(pool: &Pool) -> impl Strategy<Value = Vec<u8>> + use<> {
    let headers = (select(vec![6_u8, 17, 44, 60]), select(pool.ports.clone())).prop_map(|(next, port)| {
        let [high, low] = port.to_be_bytes();
        vec![next, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0]
    });
    prop_oneof![6 => Just(Vec::new()), 1 => (1_usize..40).prop_map(|length| vec![0; length]), 1 => headers]
}

/// An IPv4 header with fields of any kind, between no addresses.
fn v4_header() -> impl Strategy<Value = V4> {
    let nowhere = Ipv4Addr::UNSPECIFIED;
    let version = prop_oneof![30 => Just(4_u8), 1 => 0_u8..16];
    let claimed = prop_oneof![30 => Just(None), 1 => (0_u8..5).prop_map(Some)];
    (0_u8..=10, fragment(), version, claimed).prop_map(move |(options, fragment, version, claimed_words)| V4 {
        options,
        fragment,
        version,
        claimed_words,
        ..V4::new(nowhere, nowhere)
    })
}

/// A packet to one of the pool's ports in everything that must not hide it: options, extension headers within the
/// bounds, first and atomic fragments, priority tags.
pub fn wrapped(pool: &Pool) -> impl Strategy<Value = Packet> + use<> {
    let fragment = || select(vec![Fragment::WHOLE, Fragment::FIRST]);
    let tags = vec((0_u8..8).prop_map(Tag::priority), 0..=4);
    let v4 = (0_u8..=10, fragment(), prop_oneof![3 => Just(None), 1 => (0_u8..8).prop_map(Some)]);
    let v4 = v4.prop_map(|(options, fragment, units)| {
        let packet = Packet::v4(0).with_v4(|header| {
            header.options = options;
            header.fragment = fragment;
        });
        packet.behind(&units.map(Extension::Authentication).into_iter().collect::<Vec<_>>())
    });
    let v6 = vec(extension(fragment()), 0..=8).prop_map(|chain| Packet::v6(0).behind(&chain));
    let v6 = v6.prop_filter("further out than the bound", |packet| {
        packet.transport_offset() - packet.network_offset() <= super::truth::REACH
    });
    (prop_oneof![v4, v6], tags, transport(pool.ports.clone(), 0)).prop_map(|(packet, tags, transport)| Packet {
        tags,
        transport,
        ..packet
    })
}

/// The bytes of a frame, shown in hexadecimal.
#[derive(Clone)]
pub struct Frame(pub Vec<u8>);

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A frame: a packet, often with something done to its bytes.
pub fn frame(pool: &Pool) -> impl Strategy<Value = Frame> + use<> {
    (packet(pool), mutation()).prop_map(|(packet, mutation)| {
        let mut bytes = packet.bytes();
        mutation.apply(&mut bytes);
        Frame(bytes)
    })
}

/// Something done to a frame.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Nothing.
    None,
    /// It ends here, in thousandths of its length.
    Cut(usize),
    /// These bytes, counted from the end of the Ethernet addresses, are set.
    Set(Vec<(usize, u8)>),
    /// One bit flips, counted in the same way.
    Flip(usize, u8),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Cut(thousandths) => bytes.truncate(bytes.len() * thousandths / 1000),
            Self::Set(changes) => changes.iter().for_each(|&(at, value)| change(bytes, at, |_| value)),
            Self::Flip(at, bit) => change(bytes, *at, |byte| byte ^ 1 << bit),
        }
    }
}

fn change(bytes: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(12 + at) {
        *byte = to(*byte);
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Values that mean something in some header, rather than any.
    let value = prop_oneof![select(vec![0_u8, 6, 17, 43, 44, 51, 60, 0x45, 0x60, 0x81, 0x88, 0xff]), any::<u8>()];
    prop_oneof![
        2 => Just(Mutation::None),
        1 => (0_usize..1000).prop_map(Mutation::Cut),
        2 => vec((0_usize..80, value), 1..4).prop_map(Mutation::Set),
        1 => (0_usize..64, 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
    ]
}
