//! A million SYNs from as many sources: every one is dropped, counted once, and adds up.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::frames::Wire;
use tests::guard::Guard;
use tests::packet::{Network, Packet};
use tests::topology::World;
use tests::{require, requires};

const FLOOD: u32 = 1_000_000;
/// Every tenth packet is from one source, who must be found among the others.
const HEAVY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);

#[test]
fn a_million_packets_through_tcx() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    flood("tc", "tcx")
}

#[test]
fn a_million_packets_through_generic_xdp() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    flood("xdp-generic", "xdp-generic")
}

#[test]
fn a_million_packets_through_native_xdp() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    flood("xdp", "xdp-native")
}

fn flood(attach: &str, hook: &str) -> Result<()> {
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, &format!("seatbelt = false\nattach = \"{attach}\""))?;
    ensure!(guard.interface("inet0")?["hook"] == hook, "{:#}", guard.interface("inet0")?);

    send(&Wire::open(&internet.ns, "eth0")?, world.guard.mac("inet0")?)?;

    // The last few may still be on their way.
    let start = Instant::now();
    let status = guard.status_when("the whole flood to be counted", |status| {
        inet0(status)["dropped_packets"] == FLOOD || start.elapsed() > Duration::from_secs(8)
    })?;
    let row = inet0(&status);
    ensure!(row["dropped_packets"] == FLOOD && row["drops"]["untrusted"] == FLOOD, "{row:#}");
    ensure!(row["dropped_bytes"] == u64::from(FLOOD) * 54 && row["passed_packets"] == 0, "{row:#}");

    // `status` names the heaviest sources only.
    let output = guard.command(&["sources", "--json"])?;
    let document: Value = serde_json::from_slice(&output.stdout).context("reading sources --json")?;
    let sources = document["sources"].as_array().context("no sources")?;
    let attributed: u64 = sources.iter().filter_map(|source| source["dropped_packets"].as_u64()).sum();
    let unattributed = document["unattributed_packets"].as_u64().context("no unattributed packets")?;
    let total: u64 = rows(&status).filter_map(|row| row["dropped_packets"].as_u64()).sum();
    ensure!(attributed + unattributed == total, "{attributed} + {unattributed} packets are not {total}");

    let heavy = sources.first().context("nobody was attributed anything")?;
    ensure!(heavy["source"] == HEAVY.to_string(), "the heaviest sender is {heavy:#}");
    let packets = heavy["dropped_packets"].as_u64().unwrap_or_default();
    ensure!(packets * 100 >= u64::from(FLOOD / 10) * 99, "only {packets} packets of the heavy sender");
    // The others sent one packet each, if they are known at all.
    ensure!(sources[1..].iter().all(|source| source["dropped_packets"] == 1), "{:#}", sources[1]);
    Ok(())
}

/// Sends the flood: SYNs to the guarded port of whoever has this MAC address.
fn send(wire: &Wire, to: [u8; 6]) -> Result<()> {
    let packet = Packet { to, ..Packet::v4(11434) };
    let Network::V4(header) = &packet.network else { anyhow::bail!("not an IPv4 packet") };
    let mut frame = packet.bytes();
    let at = packet.network_offset() + 12;
    ensure!(frame[at..at + 4] == header.source.octets(), "the source address is where RFC 791 has it");
    for i in 0..FLOOD {
        let source = if i % 10 == 0 { HEAVY } else { Ipv4Addr::from_bits(0x0a00_0000 + i) };
        frame[at..at + 4].copy_from_slice(&source.octets());
        wire.send(&frame)?;
    }
    Ok(())
}

fn rows(status: &Value) -> impl Iterator<Item = &Value> {
    status["interfaces"].as_array().into_iter().flatten()
}

fn inet0(status: &Value) -> &Value {
    rows(status).find(|row| row["name"] == "inet0").unwrap_or(&Value::Null)
}
