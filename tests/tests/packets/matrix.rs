//! Every way to hide a port × every hook × every class × policies.

use anyhow::{Context, Result};
use ollama_guard::class::Class;
use tests::packet::{Extension, Fragment, Network, Packet, Tag, Transport, flags};
use tests::stand::{Loaded, NEIGHBOUR, NETWORK, Stand, Way};
use tests::{require, requires};

/// The default port, a second service over both protocols, and a third over UDP only.
const SERVICES: &str = r#"
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

const PORTS: [u16; 8] = [11434, 11435, 3000, 8080, 5004, 22, 0, 65535];

#[test]
fn the_default_policy() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix("")
}

#[test]
fn several_services() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(SERVICES)
}

#[test]
fn a_service_of_datagrams_only() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix("[[service]]\nname = \"voice\"\nports = [11434]\nprotocols = [\"udp\"]")
}

#[test]
fn observing() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("mode = \"observe\"\n{SERVICES}"))
}

#[test]
fn passing_on_what_is_forwarded() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("forwarded = \"pass\"\n{SERVICES}"))
}

#[test]
fn containers_that_may_enter() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("{SERVICES}\n[interfaces]\ncontainer_access = \"allow\""))
}

#[test]
fn the_profile_for_a_lan() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("profile = \"lan\"\n{SERVICES}"))
}

#[test]
fn allowed_sources_by_prefix_service_and_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    let allow = r#"
        [[allow]]
        source = "192.0.2.0/24"
        service = "webui"
        [[allow]]
        source = "192.0.2.9/32"
        service = "ollama"
        [[allow]]
        source = "8.8.8.8/32"
        interface = "eth0"
        [[allow]]
        source = "198.51.100.0/24"
        interface = "eth1"
        [[allow]]
        source = "2001:db8::/64"
        service = "voice"
        [[allow]]
        source = "2001:db8::9/128"
        [[allow]]
        source = "2600::/16"
        interface = "eth1"
    "#;
    matrix(&format!("{SERVICES}\n{allow}"))
}

/// All packets by all ways on interfaces of all classes.
fn matrix(policy: &str) -> Result<()> {
    Stand::run(|stand| {
        for class in [Class::Guarded, Class::Container, Class::Trusted] {
            let mut loaded = stand.load(policy, class)?;
            for packet in packets() {
                meet(&mut loaded, &packet.bytes()).with_context(|| format!("{class} interface, {packet:?}"))?;
            }
        }
        Ok(())
    })
}

/// One frame by every way: the verdict and every counter must be as the model says.
fn meet(loaded: &mut Loaded, frame: &[u8]) -> Result<()> {
    for way in Way::ALL {
        let told = loaded.meet(way, frame)?;
        let expected = loaded.model.expects(way, frame);
        anyhow::ensure!(told == expected, "{way:?}: expected {expected:?}, got {told:?}");
    }
    Ok(())
}

/// The list of design: what a single packet can do to hide its port.
fn packets() -> Vec<Packet> {
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
        packets.push(Packet { transport: Transport::Other(132, [port, port]), ..plain });
    }
    packets.extend((1..=10).map(|options| Packet::v4(port).with_v4(|header| header.options = options)));
    packets.extend((0..5).map(|words| Packet::v4(port).with_v4(|header| header.claimed_words = Some(words))));
    packets.push(Packet::v4(port).behind(&[Extension::Authentication(3)]));
    packets.extend(chains().iter().map(|chain| Packet::v6(port).behind(chain)));
    for fragment in [Fragment::FIRST, Fragment::LATER, Fragment::LAST] {
        packets.push(Packet::v4(port).with_v4(|header| header.fragment = fragment));
        packets.push(Packet::v6(port).behind(&[Extension::Fragment(fragment)]));
    }
    for packet in &mut packets {
        if packet.to == [2, 0, 0, 0, 0, 1] {
            packet.to = tests::stand::MAC;
        }
    }
    packets.extend(between_all_addresses());
    packets
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
