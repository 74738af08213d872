//! More sources than there is room for: who made room is counted, and the sums stay right.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::frames::Wire;
use tests::guard::Guard;
use tests::packet::Packet;
use tests::scrape::Scrape;
use tests::topology::World;
use tests::{require, requires, wait};

use super::METRICS;

const SENDERS: u64 = 3_000;
/// Sources that a processor looks up at first sight, again and again, without taking them for a flood: see the gate in
/// `ollama_guard_common::abi`.
const CALM: (u64, Duration) = (8, Duration::from_millis(9));

#[test]
fn who_made_room_is_counted() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, "seatbelt = false\n[sources]\ntracked = 1024")?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&world.guard, METRICS).is_ok())?;
    let evictions = |scrape: &Scrape| scrape.count("ollama_guard_source_evictions_total", &[]);
    ensure!(evictions(&Scrape::get(&world.guard, METRICS)?) == 0);

    let wire = Wire::open(&internet.ns, "eth0")?;
    let packet = Packet { to: world.guard.mac("inet0")?, ..Packet::v4(11434) };
    let mut frame = packet.bytes();
    let at = packet.network_offset() + 12;
    let mut earlier = 0;
    for sender in 0..SENDERS {
        if sender % CALM.0 == 0 {
            std::thread::sleep(CALM.1);
        }
        if sender % 1000 == 0 {
            let now = evictions(&Scrape::get(&world.guard, METRICS)?);
            ensure!(now >= earlier, "{now} after {earlier}");
            earlier = now;
        }
        let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(sender)?);
        frame[at..at + 4].copy_from_slice(&address.octets());
        wire.send(&frame)?;
    }
    let status = guard.status_when("every packet to be counted", |status| dropped(status) == SENDERS)?;
    let number = |key: &str| status[key].as_u64().with_context(|| format!("no {key}"));
    let (tracked, evicted) = (number("sources_tracked")?, number("source_evictions")?);
    println!("{SENDERS} senders, {tracked} remembered, {evicted} made room");
    // One that was taken for part of a flood was never remembered.
    ensure!(tracked + evicted <= SENDERS && tracked + evicted >= SENDERS * 9 / 10, "{tracked} + {evicted}");
    ensure!(evicted > SENDERS / 2, "{evicted}");
    let output = guard.command(&["sources", "--json"])?;
    let sources: Value = serde_json::from_slice(&output.stdout)?;
    let attributed: u64 =
        sources["sources"].as_array().into_iter().flatten().filter_map(|row| row["packets"].as_u64()).sum();
    ensure!(attributed + number("unattributed_packets")? == SENDERS && attributed == tracked, "{attributed}");

    let scrape = Scrape::get(&world.guard, METRICS)?;
    ensure!(evictions(&scrape) == evicted, "{}", scrape.text);
    ensure!(scrape.count("ollama_guard_source_packets_total", &[]) == SENDERS, "{}", scrape.text);
    let table = String::from_utf8(guard.command(&["status"])?.stdout)?;
    ensure!(table.contains("from untracked sources") && table.contains("made room for others"), "{table}");

    // The daemon looks at least every half minute, and says since when.
    wait::until("the daemon to notice", Duration::from_mins(1), || {
        let table = guard.command(&["status"]).map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        table.is_ok_and(|table| table.contains("from untracked sources (first noticed "))
    })?;

    // Who goes with an interface makes no room.
    world.guard.ip("link delete inet0")?;
    let status = guard.status_when("its senders to be forgotten", |status| status["sources_tracked"] == 0)?;
    ensure!(status["source_evictions"] == evicted, "{evicted} and then {}", status["source_evictions"]);
    Ok(())
}

fn dropped(status: &Value) -> u64 {
    let rows = status["interfaces"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["dropped_packets"].as_u64()).sum()
}
