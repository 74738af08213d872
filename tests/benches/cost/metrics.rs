//! What it costs to read as many senders as the kernel remembers, and to read nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::frames::Wire;
use tests::guard::Guard;
use tests::packet::Packet;
use tests::scrape::Scrape;
use tests::topology::World;
use tests::wait;

use crate::measure::Spread;
use crate::table::{Goal, Row};

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19434);
/// The default of `[sources] tracked`.
const SENDERS: u32 = 65_536;
/// The kernel begins to evict a little before its table is full.
const ENOUGH: u64 = 60_000;
const ROUNDS: usize = 21;
/// How long the daemon is watched doing nothing: two of its regular looks, 30 s apart, are at most in it.
const IDLE: Duration = Duration::from_secs(31);

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let world = World::new()?;
    let internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, "")?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&world.guard, METRICS).is_ok())?;
    let fresh = guard.process()?.resident()?;

    let wire = Wire::open(&internet.ns, "eth0")?;
    let packet = Packet { to: world.guard.mac("inet0")?, ..Packet::v4(11434) };
    let mut frame = packet.bytes();
    let at = packet.network_offset() + 12;
    for sender in 0..SENDERS {
        frame[at..at + 4].copy_from_slice(&Ipv4Addr::from_bits(0x0a00_0000 + sender).octets());
        // Seen twice, a sender is remembered even in a flood.
        wire.send(&frame)?;
        wire.send(&frame)?;
    }
    let tracked = guard.status()?["sources_tracked"].as_u64().context("no sources_tracked")?;
    ensure!(tracked >= ENOUGH, "only {tracked} senders are remembered");
    println!("{tracked} senders");

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // A reading serves for as long as it took: each of these is to be a new one.
        sleep(Duration::from_millis(100));
        let scrape = timed(|| Scrape::get(&world.guard, METRICS).map(drop))?;
        let status = timed(|| guard.command(&["status"]).map(drop))?;
        let sources = timed(|| guard.command(&["sources", "--json"]).map(drop))?;
        if round > 0 {
            for (times, time) in times.iter_mut().zip([scrape, status, sources]) {
                times.push(time);
            }
        }
    }
    let [scrape, status, sources] = times.map(Spread::of);
    let full = guard.process()?.resident()?;
    let before = guard.process()?.busy()?;
    sleep(IDLE);
    let idle = guard.process()?.busy()?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    Ok(vec![
        Row::figure("65,536 senders: /metrics", scrape, "ms", Goal::AtMost(60.0)),
        Row::figure("65,536 senders: status", status, "ms", Goal::AtMost(60.0)),
        Row::figure("65,536 senders: sources --json", sources, "ms", Goal::None),
        Row::figure("the daemon's memory at first", Spread::of([fresh]), "MiB", Goal::None),
        Row::figure("the daemon's memory afterwards", Spread::of([full]), "MiB", Goal::AtMost(16.0)),
        Row::figure("the daemon's idle processor time", Spread::of([idle]), "%", Goal::AtMost(0.2)),
    ])
}

/// In milliseconds.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
