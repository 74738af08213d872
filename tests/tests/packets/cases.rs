//! What the suites send.

use tests::packet::{Extension, Fragment, Network, Packet, Tag, Transport, flags};
use tests::stand::{NEIGHBOUR, NETWORK};

/// The default port, a second service over both protocols, and a third over UDP only.
pub(crate) const SERVICES: &str = r#"
    [[service]]
    name = "ollama"
    ports = [11434]
    [[service]]
    name = "webui"
    ports = [3000, 8080]
    protocols = ["tcp", "udp"]
    [[service]]
    name = "voice"
    ports = [5004]
    protocols = ["udp"]
"#;

/// Guarded ones, their neighbors, others.
const PORTS: [u16; 8] = [11434, 11435, 3000, 8080, 5004, 22, 0, 65535];

/// Everything that a single packet can do to hide its port, in frames to the stand's interface.
pub(crate) fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for port in PORTS {
        for plain in [Packet::v4(port), Packet::v6(port)] {
            packets.extend([plain.clone().udp(), plain]);
        }
    }
    let port = PORTS[0];
    for plain in [Packet::v4(port), Packet::v6(port)] {
        for bits in [flags::ACK, flags::RST, flags::FIN, flags::NULL, flags::XMAS] {
            packets.push(plain.clone().flags(bits));
        }
        for tags in [&[Tag::priority(3)][..], &[Tag::priority(0); 4], &[Tag::priority(0); 5], &[Tag::q(5)]] {
            packets.push(plain.clone().tagged(tags));
        }
        packets.push(plain.clone().tagged(&[Tag::ad(0), Tag::q(7)]));
        packets.push(Packet { to: [2, 0, 0, 0, 0, 9], ..plain.clone() });
        packets.push(Packet { to: [0xff; 6], ..plain.clone() });
        packets.push(Packet { transport: Transport::Other(132, [port, port]), ..plain.clone() });
        packets.push(plain.clone().trailed_by(&[0; 6]));
        for inner in [Packet::v4(port), Packet::v6(port), Packet::v6(22), Packet::v4(port).udp()] {
            packets.push(plain.clone().carrying(inner));
        }
    }
    packets.extend((1..=10).map(|options| Packet::v4(port).with_v4(|header| header.options = options)));
    packets.extend((0..5).map(|words| Packet::v4(port).with_v4(|header| header.claimed_words = Some(words))));
    packets.push(Packet::v4(port).behind(&[Extension::Authentication(3)]));
    packets.extend(padded(22));
    packets.extend(chains().iter().map(|chain| Packet::v6(port).behind(chain)));
    for fragment in [Fragment::FIRST, Fragment::LATER, Fragment::LAST] {
        packets.push(Packet::v4(port).with_v4(|header| header.fragment = fragment));
        packets.push(Packet::v6(port).behind(&[Extension::Fragment(fragment)]));
    }
    packets.extend(between_all_addresses());
    packets
}

/// Packets that end within their headers, and frames that go on as if nothing had happened.
fn padded(port: u16) -> Vec<Packet> {
    let options = Extension::Destination(0);
    let first = Extension::Fragment(Fragment::FIRST);
    let fragment = Packet::v4(port).with_v4(|header| header.fragment = Fragment::FIRST);
    vec![
        Packet::v6(port).behind(&[first, options]).claiming(8),
        Packet::v6(port).behind(&[first, options, options]).claiming(16),
        Packet::v6(port).behind(&[options, options]).claiming(8),
        Packet::v6(port).behind(&[Extension::HopByHop(0), options]).claiming(0),
        fragment.behind(&[Extension::Authentication(0)]).claiming(20),
        Packet::v4(port).behind(&[Extension::Authentication(0)]).claiming(22),
    ]
}

fn chains() -> Vec<Vec<Extension>> {
    let kinds = [
        Extension::HopByHop(0),
        Extension::Destination(5),
        Extension::Routing(1),
        Extension::Authentication(0),
        Extension::Fragment(Fragment::WHOLE),
    ];
    let mut chains: Vec<_> = kinds.iter().map(|&header| vec![header]).collect();
    chains.extend((0..=10).map(|count| kinds.iter().copied().cycle().take(count).collect()));
    chains.push(vec![Extension::Destination(31); 8]); // over 2,047 bytes
    chains.push(vec![Extension::HopByHop(255)]);
    chains
}

/// From every address to every address of the stand's world, to a guarded and another port of each protocol.
fn between_all_addresses() -> impl Iterator<Item = Packet> {
    let pairs = NEIGHBOUR.iter().chain(&NETWORK).flat_map(|from| NETWORK.iter().map(move |to| (from, to)));
    pairs.flat_map(|(from, to)| {
        let plain = if from.contains(':') { Packet::v6(11434) } else { Packet::v4(11434) };
        [plain.clone(), plain.clone().udp(), Packet { transport: Transport::udp(8080), ..plain }]
            .into_iter()
            .filter_map(move |mut packet| {
                match &mut packet.network {
                    Network::V4(header) => {
                        (header.source, header.destination) = (from.parse().ok()?, to.parse().ok()?);
                    }
                    Network::V6(header) => {
                        (header.source, header.destination) = (from.parse().ok()?, to.parse().ok()?);
                    }
                }
                Some(packet)
            })
    })
}
