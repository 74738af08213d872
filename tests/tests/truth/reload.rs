//! A reload that failed is told until one succeeds; what a reload cannot change is refused by its name.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::topology::World;
use tests::{require, requires};

use super::PORT;

fn told(status: &Value, words: &str) -> bool {
    let problems = status["problems"].as_array().into_iter().flatten();
    problems.filter_map(|one| one["problem"].as_str()).any(|said| said.contains(words))
}

#[test]
fn a_failed_reload_is_a_problem_until_one_succeeds() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, "")?;
    for (policy, why) in [
        ("profle = \"lan\"", "profle"),
        ("this is not toml", "TOML"),
        ("[sources]\ntracked = 1000\nexported = 10", "`sources.tracked` takes a restart"),
    ] {
        guard.reload(policy)?;
        let status =
            guard.status_when("the failure", |status| told(status, "the last reload failed") && told(status, why))?;
        ensure!(status["enforcing"] == true, "what was in force is: {status:#}");
        silent(&listener, PORT, &attempts([&internet]))?;
        guard.reload("")?;
        guard.status_when("no failure", |status| status["problems"] == json!([]))?;
    }
    Ok(())
}

/// Everything stays where it was, and is found there.
#[test]
fn other_paths_take_a_restart() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, "")?;
    let text = std::fs::read_to_string(guard.config())?;
    let pins = guard.pins().display().to_string();
    std::fs::write(guard.config(), text.replace(&pins, &format!("{pins}-elsewhere")))?;
    let reload = guard.command(&["reload"])?;
    let said = String::from_utf8_lossy(&reload.stderr);
    ensure!(!reload.status.success() && said.contains("`paths.bpf` takes a restart"), "{said}");
    let status = guard.status()?;
    ensure!(status["enforcing"] == true && told(&status, "`paths.bpf` takes a restart"), "{status:#}");
    silent(&listener, PORT, &attempts([&internet]))?;
    std::fs::write(guard.config(), text)?;
    ensure!(guard.command(&["reload"])?.status.success());
    guard.status_when("no failure", |status| status["problems"] == json!([]))?;
    guard.stop()
}
