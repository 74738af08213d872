//! The instant in which an interface appears, is renamed, or takes over another's index: no program is attached yet, and
//! packets to the port are there already.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use tests::frames::Wire;
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
/// Frames to have been sent before a link may go.
const ENOUGH: u64 = 40;

/// Sends SYNs to the guarded host, v4 and v6, by whatever link is called `p0`, from its first moment on.
struct Neighbour {
    ns: Arc<Netns>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn start(internet: &Side) -> Result<Self> {
        let v4 = Packet { to: MAC, ..Packet::v4(PORT) }.with_v4(|header| header.destination = internet.guard.v4);
        let v6 = Packet { to: MAC, ..Packet::v6(PORT) }.with_v6(|header| header.destination = internet.guard.v6);
        let frames = [v4.bytes(), v6.bytes()];
        let (ns, sent, stop) = (Arc::new(Netns::new("neighbour")?), Arc::<AtomicU64>::default(), Arc::default());
        let (here, counted, stopped) = (Arc::clone(&ns), Arc::clone(&sent), Arc::<AtomicBool>::clone(&stop));
        let thread = ns.enter(move || thread::spawn(move || hammer(&here, &frames, &counted, &stopped)))?;
        Ok(Self { ns, sent, stop, thread: Some(thread) })
    }

    /// Until it has sent a good deal by the link that is there now.
    fn sends(&self) -> Result<()> {
        let before = self.sent.load(Ordering::Relaxed);
        wait::until("the neighbour to send", Duration::from_secs(20), || {
            self.sent.load(Ordering::Relaxed) >= before + ENOUGH
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hammer(ns: &Netns, frames: &[Vec<u8>], sent: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // This thread is in the namespace.
        if if_nametoindex("p0").is_err() {
            thread::yield_now();
            continue;
        }
        let Ok(wire) = Wire::open(ns, "p0") else { continue };
        while !stop.load(Ordering::Relaxed) && frames.iter().all(|frame| wire.send(frame).is_ok()) {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A link by which the neighbour sends already when the guarded host's end comes up.
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
        let before = neighbour.sent.load(Ordering::Relaxed);
        match nth % 4 {
            0 | 1 => add(&world, &neighbour, &format!("new{nth}"), "")?,
            2 => {
                add(&world, &neighbour, &format!("tmp{nth}"), "")?;
                neighbour.sends()?;
                world.guard.ip(&format!("link set tmp{nth} name new{nth}"))?;
            }
            _ => {
                // A trusted interface goes, and a stranger's gets its index.
                let index = 100_000 + nth;
                world.guard.ip(&format!("link add wg0 index {index} up type veth peer name wg1\nlink delete wg0"))?;
                add(&world, &neighbour, &format!("new{nth}"), &format!("index {index}"))?;
            }
        }
        neighbour.sends()?;
        world.guard.ip(&format!("link delete new{nth}"))?;
        busiest = busiest.max(neighbour.sent.load(Ordering::Relaxed) - before);
        let seen = listener.witness.seen();
        ensure!(seen.is_empty(), "{} packets arrived by link {nth}: {:?}", seen.len(), seen[0]);
    }
    ensure!(listener.accepted().is_empty(), "{:?}", listener.accepted());
    println!(
        "{} pairs sent by {} links, at most {busiest} by one; none arrived",
        neighbour.sent.load(Ordering::Relaxed),
        links()
    );
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
