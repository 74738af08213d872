//! Interfaces that appear, vanish, change their name, get a master and move away, while the guard runs.

use anyhow::Result;
use serde_json::Value;
use tests::claims::{answers, answers_soon, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;
use super::pins::links;

for_each_arrangement!(
    an_interface_that_appears_is_guarded_and_forgotten_when_it_goes,
    a_name_decides_as_long_as_it_is_borne
);

fn an_interface_that_appears_is_guarded_and_forgotten_when_it_goes(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    assert_eq!(links(guard.pins()), Vec::<std::path::PathBuf>::new());
    for _ in 0..2 {
        let lan = world.lan()?;
        if layers.counts() {
            assert_eq!(guard.attached_as("lan0", "guarded")?["hook"], layers.hook());
        }
        silent(&listener, PORT, &attempts([&lan]))?;
        if layers.counts() {
            // It takes its counters along: the next of that name, or that index, starts at zero.
            let row = guard.interface("lan0")?;
            assert!((2..=6).contains(&row["dropped_packets"].as_u64().unwrap_or_default()), "{row:#}");
        }
        world.guard.ip("link delete lan0")?;
        guard.interface_when("lan0", "gone", Value::is_null)?;
        tests::wait::until("the pin to go", std::time::Duration::from_secs(10), || links(guard.pins()).is_empty())?;
    }
    Ok(())
}

fn a_name_decides_as_long_as_it_is_borne(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&listener, PORT, &attempts([&lan]))?;

    let rename = |from: &str, to: &str| {
        // The address of version 6 goes with the link.
        let up = format!("link set {to} up\naddress add fd77::1/64 dev {to} nodad");
        world.guard.ip(&format!("link set {from} down\nlink set {from} name {to}\n{up}"))
    };
    rename("lan0", "wg0")?;
    if layers.counts() {
        guard.attached_as("wg0", "trusted")?;
    }
    answers_soon(PORT, (&lan.ns, lan.guard.v4.into()))?;
    answers(PORT, &attempts([&lan]))?;

    rename("wg0", "lan0")?;
    if layers.counts() {
        guard.attached_as("lan0", "guarded")?;
    }
    silent(&listener, PORT, &attempts([&lan]))
}

#[test]
fn a_member_is_left_to_its_master_and_back() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    guard.attached_as("lan0", "guarded")?;

    world.guard.ip("link add br9 type bridge\nlink set br9 up\nlink set lan0 master br9\naddress flush dev lan0\n\
         address add 192.168.77.1/24 dev br9\naddress add fd77::1/64 dev br9 nodad")?;
    guard.attached_as("br9", "guarded")?;
    let row = guard.interface_when("lan0", "left to br9", |row| row["hook"] == "none")?;
    assert_eq!(row["hook_reason"], "in br9");
    silent(&listener, PORT, &attempts([&lan]))?;
    assert!(guard.interface("br9")?["dropped_packets"].as_u64() >= Some(2));

    world.guard.ip("link delete br9\naddress add 192.168.77.1/24 dev lan0\naddress add fd77::1/64 dev lan0 nodad")?;
    guard.attached_as("lan0", "guarded")?;
    silent(&listener, PORT, &attempts([&lan]))
}

/// As a container engine does: what it takes away must work where it goes.
#[test]
fn an_interface_that_moves_away_takes_nothing_of_ours_along() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    for layers in [Layers::Xdp, Layers::Tc] {
        let world = World::new()?;
        let lan = world.lan()?;
        let guard = Guard::start(&world.guard, &layers.policy(""))?;
        guard.attached_as("lan0", "guarded")?;

        let elsewhere = Netns::new("elsewhere")?;
        let _listener = Listener::http(&elsewhere, PORT)?;
        world.guard.ip(&format!("link set lan0 netns {}", elsewhere.name()))?;
        elsewhere
            .ip("link set lan0 up\naddress add 192.168.77.1/24 dev lan0\naddress add fd77::1/64 dev lan0 nodad")?;
        answers_soon(PORT, (&lan.ns, lan.guard.v4.into()))?;
        answers(PORT, &attempts([&lan]))?;
        guard.interface_when("lan0", "gone", Value::is_null)?;
        assert_eq!(links(guard.pins()), Vec::<std::path::PathBuf>::new());
    }
    Ok(())
}
