//! What it costs to read as many sources as the kernel remembers, and to read nothing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
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
    let pid = guard.process()?.pid();
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&world.guard, METRICS).is_ok())?;
    let fresh = resident(pid)?;

    let wire = Wire::open(&internet.ns, "eth0")?;
    let packet = Packet { to: world.guard.mac("inet0")?, ..Packet::v4(11434) };
    let mut frame = packet.bytes();
    let at = packet.network_offset() + 12;
    for sender in 0..SENDERS {
        frame[at..at + 4].copy_from_slice(&Ipv4Addr::from_bits(0x0a00_0000 + sender).octets());
        // Seen twice, a source is remembered even in a flood.
        wire.send(&frame)?;
        wire.send(&frame)?;
    }
    let tracked = guard.status()?["sources_tracked"].as_u64().context("no sources_tracked")?;
    ensure!(tracked >= ENOUGH, "only {tracked} senders are remembered");
    println!("{tracked} senders");

    // On a machine that does other things too the time until the answer says little; the time that somebody worked for it does.
    let mut times: [Vec<f64>; 6] = Default::default();
    for round in 0..=ROUNDS {
        // A reading serves for as long as it took: each of these is to be a new one.
        sleep(Duration::from_millis(100));
        let scrape = timed(|| busy(pid), || Scrape::get(&world.guard, METRICS).map(drop))?;
        let status = timed(children, || guard.command(&["status"]).map(drop))?;
        let sources = timed(children, || guard.command(&["sources", "--json"]).map(drop))?;
        if round > 0 {
            for (times, time) in times.iter_mut().zip([scrape, status, sources].concat()) {
                times.push(time);
            }
        }
    }
    let [scrape_work, scrape, status_work, status, sources_work, sources] = times.map(Spread::of);
    let full = resident(pid)?;
    let before = busy(pid)?;
    sleep(IDLE);
    let idle = (busy(pid)? - before) / IDLE.as_secs_f64() * 100.0;
    Ok(vec![
        Row::figure("65,536 senders: work for /metrics", scrape_work, "ms", Goal::AtMost(60.0)),
        Row::figure("65,536 senders: work for status", status_work, "ms", Goal::AtMost(60.0)),
        Row::figure("65,536 senders: work for sources --json", sources_work, "ms", Goal::None),
        Row::figure("until /metrics is there", scrape, "ms", Goal::None),
        Row::figure("until status is there", status, "ms", Goal::None),
        Row::figure("until sources --json is there", sources, "ms", Goal::None),
        Row::figure("the daemon's memory at first", Spread::of([fresh]), "MiB", Goal::None),
        Row::figure("the daemon's memory afterwards", Spread::of([full]), "MiB", Goal::AtMost(16.0)),
        Row::figure("the daemon's idle processor time", Spread::of([idle]), "%", Goal::AtMost(0.2)),
    ])
}

/// Processor time by this account, and time, in milliseconds.
fn timed(account: impl Fn() -> Result<f64>, work: impl FnOnce() -> Result<()>) -> Result<[f64; 2]> {
    let (start, before) = (Instant::now(), account()?);
    work()?;
    Ok([(account()? - before) * 1e3, start.elapsed().as_secs_f64() * 1e3])
}

/// Processor time of the commands that have ended, in seconds.
fn children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs()).as_secs_f64();
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Resident memory in MiB.
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Processor time in seconds, to the nanosecond: of every thread, by the scheduler's account.
fn busy(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let account = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += account.split(' ').next().context("no schedstat")?.parse::<f64>()? / 1e9;
    }
    Ok(sum)
}
