//! A flood of invented sources: events are bounded, what is not told is counted, and a real source is not lost in it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::frames::Wire;
use tests::guard::Guard;
use tests::packet::Packet;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{Reader, SOON};

const FLOOD: u32 = 100_000;

#[test]
fn a_flood_fills_neither_ring_nor_log() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, "seatbelt = false")?;
    let reader = Reader::start(&world.guard, &guard, &["--json"])?;
    let wire = Wire::open(&internet.ns, "eth0")?;
    let packet = Packet { to: world.guard.mac("inet0")?, ..Packet::v4(11434) };
    let mut frame = packet.bytes();
    let at = packet.network_offset() + 12;
    for i in 0..FLOOD {
        frame[at..at + 4].copy_from_slice(&Ipv4Addr::from_bits(0x0a00_0000 + i).octets());
        wire.send(&frame)?;
    }
    let status = guard.status_when("the whole flood to be counted", |status| {
        status["interfaces"].as_array().into_iter().flatten().any(|row| row["dropped_packets"] == FLOOD)
    })?;
    let lost = status["events_lost"].as_u64().context("no events_lost")?;
    let missed = || -> u64 {
        let documents = reader.documents();
        documents.iter().filter(|line| line["event"] == "missed").filter_map(|line| line["count"].as_u64()).sum()
    };
    wait::until("the reader to hear of what is missing", SOON, || missed() > 0)?;
    let told: Vec<Value> = reader.documents().into_iter().filter(|line| line["event"] == "drop").collect();
    // Each source sent one packet: it was told of, or lost.
    ensure!(told.len() as u64 + lost >= u64::from(FLOOD), "{} events and {lost} lost", told.len());
    ensure!(lost > 0 && told.len() > 250, "{} events and {lost} lost", told.len());
    let lines = guard.log().lines().filter(|line| line.contains(" dropped ")).count();
    println!("{} events, {lost} lost, {lines} lines in the log", told.len());
    ensure!(lines < 400, "{lines} lines in the log");
    wait::until("the log to say what it lacks", 2 * SOON, || guard.log().contains("were held back"))?;
    Ok(())
}
