//! How soon an interface that comes up has its program, what slips through before, and what a reload lets through.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;
use ollama_guard_common::abi::ABI_VERSION;
use serde_json::Value;
use tests::flood::Flood;
use tests::frames::Wire;
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
/// Packets between two looks for the pin.
const BURST: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    Ok([appearing()?, leaking()?, reloading()?].into_iter().flatten().collect())
}

/// From the call that brings a link up to the first packet that its program drops, nothing else going on: a neighbor
/// sends one after another, and those that the program did not drop (nftables did) were the first ones.
fn appearing() -> Result<Vec<Row>> {
    let world = World::new()?;
    let (internet, neighbour) = (world.internet()?, Netns::new("neighbour")?);
    let guard = Guard::managed(&world.guard, &Layers::Both.policy(""))?;
    let frame = Packet { to: MAC, ..Packet::v4(PORT) }.with_v4(|header| header.destination = internet.guard.v4).bytes();
    let pins = guard.pins().join(format!("v{ABI_VERSION}/links"));
    let (mut judged, mut pinned, mut before) = (Vec::new(), Vec::new(), 0);
    for nth in 0..LINKS {
        let name = format!("new{nth}");
        let far = format!("peer name p0 netns {}", neighbour.name());
        world.guard.ip(&format!("link add {name} address 02:00:00:00:00:01 type veth {far}"))?;
        neighbour.ip("link set p0 up")?;
        let wire = Wire::direct(&neighbour, "p0")?;
        let new = world.guard.enter(|| New::watch(&name, &pins, &wire, &frame))??;
        let status = guard.status()?;
        let caught = count(&status["seatbelt"]["dropped_packets"])?;
        let row = status["interfaces"].as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name));
        let dropped = count(&row.context("no such interface")?["dropped_packets"])?;
        let first = caught - before;
        ensure!(first + dropped == new.sent.len(), "{} packets, {first} by nftables, {dropped}", new.sent.len());
        judged.push(milliseconds(*new.sent.get(first).context("the program dropped nothing")?));
        before = caught;
        pinned.push(milliseconds(new.pinned));
        world.guard.ip(&format!("link delete {name}"))?;
        wait::until("the pin to go", PATIENCE, || !new.pin.exists())?;
    }
    let mut rows = percentiles("a link up: its program drops packets", &mut judged, Goal::AtMost(5.0));
    rows.extend(percentiles("a link up: the kernel has said so", &mut pinned, Goal::None));
    Ok(rows)
}

/// A link that has come up.
struct New {
    /// Its program's.
    pin: PathBuf,
    /// When that was there, from the call on.
    pinned: Duration,
    /// When each packet went, from the call on.
    sent: Vec<Duration>,
}

impl New {
    fn watch(name: &str, pins: &Path, wire: &Wire, frame: &[u8]) -> Result<Self> {
        let pin = pins.join(if_nametoindex(name)?.to_string());
        let mut sent = Vec::new();
        let start = Instant::now();
        bring_up(name)?;
        let pinned = loop {
            for _ in 0..BURST {
                let now = start.elapsed();
                if wire.offer(frame)? {
                    sent.push(now);
                }
            }
            if pin.exists() {
                break start.elapsed();
            }
            ensure!(start.elapsed() < PATIENCE, "{name} was never attached");
        };
        wire.send(frame)?;
        sent.push(start.elapsed());
        Ok(Self { pin, pinned, sent })
    }
}

/// Packets to the port by links that come up while a neighbor floods them from their first moment.
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
    Ok(vec![packets(&what, listener.witness.seen().len())])
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
        times.push(milliseconds(start.elapsed()));
        assault.flows()?;
        arrived += assault.arrived().len();
    }
    let mut rows = percentiles("reload under flood", &mut times, Goal::None);
    rows.push(packets(&format!("{RELOADS} reloads under flood: arrived"), arrived));
    Ok(rows)
}

/// The median, and what one in a hundred exceeds, in milliseconds.
fn percentiles(what: &str, times: &mut [f64], goal: Goal) -> Vec<Row> {
    times.sort_by(f64::total_cmp);
    let p99 = times[(times.len() * 99).div_ceil(100) - 1];
    let median = Row::figure(&format!("{what}, p50"), Spread::of(times.iter().copied()), "ms", Goal::None);
    vec![median, Row::figure(&format!("{what}, p99"), Spread::of([p99]), "ms", goal)]
}

fn packets(what: &str, count: usize) -> Row {
    let count = Spread::of([f64::from(u32::try_from(count).unwrap_or(u32::MAX))]);
    Row::figure(what, count, "packets", Goal::AtMost(0.0))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn count(value: &Value) -> Result<usize> {
    Ok(value.as_u64().with_context(|| format!("{value} is no count"))?.try_into()?)
}
