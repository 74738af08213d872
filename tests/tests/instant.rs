//! The instant in which an interface appears, is renamed, or takes over another's index: no program is attached yet, and
//! packets to the port are there already.

use std::env;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::flood::Flood;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::packet::Packet;
use tests::topology::{Side, World};
use tests::{require, requires, wait};

const PORT: u16 = 11434;
/// Of the guarded host's end.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// How many links to create.
const LINKS: &str = "OLLAMA_GUARD_LINKS";

/// Sends SYNs to the guarded host, v4 and v6, by whatever link is called `p0`, from its first moment on.
struct Neighbour {
    flood: Flood,
    ns: Netns,
}

impl Neighbour {
    fn start(internet: &Side) -> Result<Self> {
        let v4 = Packet { to: MAC, ..Packet::v4(PORT) }.with_v4(|header| header.destination = internet.guard.v4);
        let v6 = Packet { to: MAC, ..Packet::v6(PORT) }.with_v6(|header| header.destination = internet.guard.v6);
        let ns = Netns::new("neighbour")?;
        Ok(Self { flood: Flood::start(&ns, "p0", vec![v4.bytes(), v6.bytes()], Duration::ZERO)?, ns })
    }
}

/// A link by which the neighbor sends already when the guarded host's end comes up.
fn add(world: &World, neighbour: &Neighbour, name: &str, options: &str) -> Result<()> {
    let far = format!("peer name p0 netns {}", neighbour.ns.name());
    world.guard.ip(&format!("link add {name} address 02:00:00:00:00:01 {options} type veth {far}"))?;
    neighbour.ns.ip("link set p0 up")?;
    world.guard.ip(&format!("link set {name} up"))
}

fn links() -> u32 {
    env::var(LINKS).ok().and_then(|links| links.parse().ok()).unwrap_or(100)
}

fn none_arrives(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    for key in ["all", "default"] {
        world.guard.sysctl(&format!("net.ipv4.conf.{key}.rp_filter"), "0")?;
    }
    let internet = world.internet()?;
    let neighbour = Neighbour::start(&internet)?;
    let listener = Listener::http(&world.guard, PORT)?;
    add(&world, &neighbour, "early0", "")?;
    wait::until("both families to arrive while nothing guards", Duration::from_secs(10), || {
        let seen = listener.witness.seen();
        seen.iter().any(|packet| packet.source.is_ipv4()) && seen.iter().any(|packet| packet.source.is_ipv6())
    })?;
    world.guard.ip("link delete early0")?;

    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    listener.witness.clear();
    let mut busiest = 0;
    for nth in 0..links() {
        let before = neighbour.flood.sent();
        match nth % 4 {
            0 | 1 => add(&world, &neighbour, &format!("new{nth}"), "")?,
            2 => {
                add(&world, &neighbour, &format!("tmp{nth}"), "")?;
                neighbour.flood.flows()?;
                world.guard.ip(&format!("link set tmp{nth} name new{nth}"))?;
            }
            _ => {
                // A trusted interface goes, and a stranger's gets its index.
                let index = 100_000 + nth;
                world.guard.ip(&format!("link add wg0 index {index} up type veth peer name wg1\nlink delete wg0"))?;
                add(&world, &neighbour, &format!("new{nth}"), &format!("index {index}"))?;
            }
        }
        neighbour.flood.flows()?;
        world.guard.ip(&format!("link delete new{nth}"))?;
        busiest = busiest.max(neighbour.flood.sent() - before);
        let seen = listener.witness.seen();
        ensure!(seen.is_empty(), "{} packets arrived by link {nth}: {:?}", seen.len(), seen[0]);
    }
    ensure!(listener.accepted().is_empty(), "{:?}", listener.accepted());
    println!("{} pairs sent by {} links, at most {busiest} by one; none arrived", neighbour.flood.sent(), links());
    drop(guard);
    Ok(())
}

#[test]
fn nothing_arrives_by_a_link_that_was_just_created() -> Result<()> {
    none_arrives(Layers::Both)
}

#[test]
fn nor_with_nftables_alone() -> Result<()> {
    none_arrives(Layers::Seatbelt)
}
