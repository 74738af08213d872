//! Promise 5 for interfaces that share a seat of the counters: their indices are equal modulo the number of seats.

use anyhow::Result;
use ollama_guard_common::abi::SEATS;
use serde_json::Value;
use tests::frames::Wire;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::packet::Packet;
use tests::{require, requires};

use super::PORT;

/// An index of which nothing else in a new namespace is a multiple away.
const FIRST: u32 = 40 + 2 * SEATS;

#[test]
fn interfaces_that_share_a_seat_are_counted_apart() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let (host, outside) = (Netns::new("guard")?, Netns::new("outside")?);
    let guard = Guard::start(&host, &Layers::Tc.policy(""))?;
    add(&host, &outside, "a0", FIRST)?;
    guard.attached_as("a0", "guarded")?;
    add(&host, &outside, "b0", FIRST + SEATS)?;
    guard.attached_as("b0", "guarded")?;
    send(&outside, "a0", 3)?;
    send(&outside, "b0", 5)?;
    counts(&guard, "a0", 3)?;
    counts(&guard, "b0", 5)?;

    // Who comes next takes the seat that was left, and starts at zero; who counts elsewhere stays there.
    host.ip("link delete a0")?;
    guard.interface_when("a0", "gone", Value::is_null)?;
    add(&host, &outside, "c0", FIRST + 2 * SEATS)?;
    guard.attached_as("c0", "guarded")?;
    counts(&guard, "c0", 0)?;
    send(&outside, "c0", 2)?;
    send(&outside, "b0", 1)?;
    counts(&guard, "c0", 2)?;
    counts(&guard, "b0", 6)
}

/// A wire between the two, whose inner end has this index.
fn add(host: &Netns, outside: &Netns, name: &str, index: u32) -> Result<()> {
    host.ip(&format!(
        "link add {name} index {index} type veth peer name {name} netns {}\nlink set {name} up",
        outside.name()
    ))?;
    outside.ip(&format!("link set {name} up"))
}

fn send(outside: &Netns, name: &str, packets: usize) -> Result<()> {
    let wire = Wire::open(outside, name)?;
    let frame = Packet { to: [0xff; 6], ..Packet::v4(PORT) }.bytes();
    (0..packets).try_for_each(|_| wire.send(&frame))
}

fn counts(guard: &Guard<'_>, name: &str, packets: u64) -> Result<()> {
    let row = guard.interface_when(name, "counted", |row| row["dropped_packets"] == packets)?;
    anyhow::ensure!(row["dropped_packets"] == packets, "{row:#}");
    Ok(())
}
