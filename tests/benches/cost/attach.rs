//! How soon an interface that comes up has its program, what slips through before, and what a reload lets through.

use std::path::Path;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use ollama_guard_common::abi::ABI_VERSION;
use tests::flood::Flood;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::packet::Packet;
use tests::siege::{PORT, Siege, policy_of_round};
use tests::topology::World;
use tests::wait;

use crate::frames::MAC;
use crate::measure::Spread;
use crate::table::{Goal, Row};
use crate::up::bring_up;

const LINKS: usize = 300;
const RELOADS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    Ok([appearing()?, leaking()?, reloading()?].into_iter().flatten().collect())
}

/// From the call that brings a link up to the pin of its program's attachment, nothing else going on.
fn appearing() -> Result<Vec<Row>> {
    let world = World::new()?;
    let neighbour = Netns::new("neighbour")?;
    let guard = Guard::managed(&world.guard, &Layers::Both.policy(""))?;
    let pins = guard.pins().join(format!("v{ABI_VERSION}/links"));
    let mut times = Vec::new();
    for nth in 0..LINKS {
        let name = format!("new{nth}");
        world.guard.ip(&format!("link add {name} type veth peer name p0 netns {}", neighbour.name()))?;
        neighbour.ip("link set p0 up")?;
        let (pin, took) = world.guard.enter(|| attached(&name, &pins))??;
        times.push(took.as_secs_f64() * 1e3);
        world.guard.ip(&format!("link delete {name}"))?;
        wait::until("the pin to go", PATIENCE, || !pin.exists())?;
    }
    Ok(percentiles("a link up: attached", &mut times, Goal::AtMost(5.0)))
}

/// The pin that tells it, and how long that took.
fn attached(name: &str, pins: &Path) -> Result<(std::path::PathBuf, Duration)> {
    let pin = pins.join(if_nametoindex(name)?.to_string());
    let start = Instant::now();
    bring_up(name)?;
    while !pin.exists() {
        ensure!(start.elapsed() < PATIENCE, "{name} was never attached");
        yield_now();
    }
    Ok((pin, start.elapsed()))
}

/// Packets to the port by links that come up while a neighbour floods them from their first moment.
fn leaking() -> Result<Vec<Row>> {
    let world = World::new()?;
    for key in ["all", "default"] {
        world.guard.sysctl(&format!("net.ipv4.conf.{key}.rp_filter"), "0")?;
    }
    let (internet, neighbour) = (world.internet()?, Netns::new("neighbour")?);
    let _guard = Guard::managed(&world.guard, &Layers::Both.policy(""))?;
    let listener = Listener::http(&world.guard, PORT)?;
    let v4 = Packet { to: MAC, ..Packet::v4(PORT) }.with_v4(|header| header.destination = internet.guard.v4);
    let v6 = Packet { to: MAC, ..Packet::v6(PORT) }.with_v6(|header| header.destination = internet.guard.v6);
    let flood = Flood::start(&neighbour, "p0", vec![v4.bytes(), v6.bytes()], Duration::ZERO)?;
    for nth in 0..LINKS {
        let far = format!("peer name p0 netns {}", neighbour.name());
        world.guard.ip(&format!("link add new{nth} address 02:00:00:00:00:01 type veth {far}"))?;
        neighbour.ip("link set p0 up")?;
        world.guard.ip(&format!("link set new{nth} up"))?;
        flood.flows()?;
        world.guard.ip(&format!("link delete new{nth}"))?;
    }
    let what = format!("{} packets by {LINKS} new links: arrived", flood.sent() * 2);
    Ok(vec![count(&what, listener.witness.seen().len())])
}

/// Policies that take each other's place under a flood.
fn reloading() -> Result<Vec<Row>> {
    let siege = Siege::lay()?;
    let mut guard = Guard::managed(&siege.world.guard, &policy_of_round(Layers::Both, 0))?;
    let assault = siege.assault()?;
    let (mut times, mut arrived) = (Vec::new(), 0);
    for nth in 1..=RELOADS {
        let start = Instant::now();
        guard.reload_managed(&policy_of_round(Layers::Both, nth))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        assault.flows()?;
        arrived += assault.arrived().len();
    }
    let mut rows = percentiles("reload under flood", &mut times, Goal::None);
    rows.push(count(&format!("{RELOADS} reloads under flood: arrived"), arrived));
    Ok(rows)
}

/// The median, and what one in a hundred exceeds, in milliseconds.
fn percentiles(what: &str, times: &mut [f64], goal: Goal) -> Vec<Row> {
    times.sort_by(f64::total_cmp);
    let p99 = times[(times.len() * 99).div_ceil(100) - 1];
    let median = Row::figure(&format!("{what}, p50"), Spread::of(times.iter().copied()), "ms", Goal::None);
    vec![median, Row::figure(&format!("{what}, p99"), Spread::of([p99]), "ms", goal)]
}

fn count(what: &str, packets: usize) -> Row {
    let packets = Spread::of([f64::from(u32::try_from(packets).unwrap_or(u32::MAX))]);
    Row::figure(what, packets, "packets", Goal::AtMost(0.0))
}
