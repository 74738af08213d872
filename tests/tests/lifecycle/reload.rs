//! SIGHUP: a new policy takes the place of the old one, a broken file changes nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;
use super::pins::pins;

const LOG: Duration = Duration::from_secs(20);

for_each_arrangement!(a_new_policy_takes_the_place_of_the_old_one);

fn a_new_policy_takes_the_place_of_the_old_one(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (ollama, webui) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, 3000)?);
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&ollama, PORT, &attempts([&internet]))?;
    answers(3000, &attempts([&internet]))?;
    let before = guard.interface("inet0")?;

    guard.reload(&layers.policy("ollama = false\n[[service]]\nname = \"webui\"\nports = [3000]"))?;
    guard.process()?.logged("configuration reloaded", LOG)?;
    tests::claims::answers_soon(PORT, (&internet.ns, internet.guard.v4.into()))?;
    answers(PORT, &attempts([&internet]))?;
    silent(&webui, 3000, &attempts([&internet]))?;
    let status = guard.status()?;
    assert_eq!(status["services"], json!([{"name": "webui", "protocols": ["tcp"], "ports": [3000]}]));
    assert_eq!(guard.command(&["status", "--quiet"])?.status.code(), Some(0), "{status:#}");

    guard.reload(&layers.policy(""))?;
    guard.status_when("the first policy again", |status| status["services"][0]["name"] == "ollama")?;
    answers(3000, &attempts([&internet]))?;
    silent(&ollama, PORT, &attempts([&internet]))?;
    if layers.counts() {
        let after = guard.interface("inet0")?;
        assert_eq!(after["index"], before["index"]);
        assert!(after["dropped_packets"].as_u64() > before["dropped_packets"].as_u64(), "{before:#}\n{after:#}");
    }
    Ok(())
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &Layers::Both.policy(""))?;
    let before = pins(guard.pins());
    for (broken, named) in [
        ("profle = \"lan\"", "profle"),
        ("[[service]]\nname = \"x\"\nports = [0]", "ports"),
        ("this is not toml", "TOML"),
    ] {
        guard.reload(broken)?;
        guard.process()?.logged("the old one stays in force", LOG)?;
        guard.process()?.logged(named, LOG)?;
        let quiet = guard.command(&["status", "--quiet"])?;
        assert_eq!(quiet.status.code(), Some(0), "{}", String::from_utf8_lossy(&quiet.stderr));
    }
    assert_eq!(pins(guard.pins()), before);
    silent(&listener, PORT, &attempts([&internet]))
}

/// Every answer while ten policies come into force, one after the other, and interfaces come and go.
#[test]
fn a_reload_raises_no_alarm() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, "")?;
    let mut asked = 0;
    for number in 0..10 {
        guard.reload(&format!(
            "[[service]]\nname = \"ollama\"\nports = [11434, {}]\n[[allow]]\nsource = \"198.51.100.{number}/32\"",
            3000 + number
        ))?;
        world.guard.ip(&format!("link add og{number} type bridge\nlink set og{number} up"))?;
        for _ in 0..10 {
            let status = guard.command(&["status", "--json"])?;
            let said = String::from_utf8_lossy(&status.stdout);
            ensure!(status.status.code() == Some(0), "question {asked}: {said}\n{}", guard.log());
            asked += 1;
        }
    }
    println!("{asked} questions, no alarm");
    guard.status_when("the last policy", |status| status["services"].to_string().contains("3009"))?;
    // And an alarm is still one.
    world.guard.ip("link add ogx type bridge\nlink set ogx up")?;
    guard.attached_as("ogx", "guarded")?;
    guard.stop()?;
    world.guard.nft("flush chain inet ollama_guard input")?;
    ensure!(guard.command(&["status", "--quiet"])?.status.code() == Some(3), "the table was emptied");
    Ok(())
}

#[test]
fn the_command_returns_when_the_policy_is_in_force() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let webui = Listener::http(&world.guard, 3000)?;
    let guard = Guard::start(&world.guard, "")?;
    answers(3000, &attempts([&internet]))?;
    guard.configure("[[service]]\nname = \"webui\"\nports = [3000]")?;
    let output = guard.command(&["reload"])?;
    ensure!(output.status.code() == Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    silent(&webui, 3000, &attempts([&internet]))?;
    assert_eq!(guard.status()?["services"][1]["name"], "webui");
    guard.configure("profle = \"lan\"")?;
    let output = guard.command(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && said.contains("profle"), "{said}");
    silent(&webui, 3000, &attempts([&internet]))
}
