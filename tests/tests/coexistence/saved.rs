//! `nft list ruleset > file`, edited, and `nft -f file`: the guard's table is in the file. With the eBPF programs at work such a
//! load succeeds, and what it makes of the table is put right at once. Where nftables stands alone it fails as a whole, and the
//! daemon says how to leave the table out.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{leftovers, require, requires};

use crate::{OTHER, PORT};

const THEIRS: &str =
    "table inet filter { chain input { type filter hook input priority filter; tcp dport 23 drop; }; }";

#[test]
fn a_saved_ruleset_loads_beside_both_layers() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let world = World::new()?;
    let host = &world.guard;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (listener, _other) = (Listener::http(host, PORT)?, Listener::http(host, OTHER)?);
    let redirect = "table inet nat { chain pre { type nat hook prerouting priority dstnat; tcp dport 8081 redirect to :11434; }; }";
    host.nft(&format!("{THEIRS}\n{redirect}"))?;
    let policy = Layers::Both.policy("[interfaces]\ntrusted = [\"lo\", \"lan0\"]");
    let mut guard = Guard::start(host, &policy)?;
    let saved = host.run("nft", &["list", "ruleset"])?;
    let older = saved.replace("elements = { \"lan0\"", "elements = { \"inet0\", \"lan0\"");
    let loads = [
        ("as it is", format!("flush ruleset\n{saved}")),
        ("without a flush", saved.clone()),
        ("of another policy", format!("flush ruleset\n{older}")),
        ("of a version that owned it", format!("flush ruleset\n{}", owned(&saved))),
        ("without the table", format!("flush ruleset\n{THEIRS}\n{redirect}")),
    ];
    for (kind, text) in loads {
        let text = text.replace("dport 23", "dport 2323");
        load(host, &text).with_context(|| format!("loading a saved ruleset {kind}"))?;
        let start = Instant::now();
        intact(&guard)?;
        println!("{kind}: put right within {:?}, as `status` says", start.elapsed());
        let filter = host.run("nft", &["list", "table", "inet", "filter"])?;
        ensure!(filter.contains("2323"), "{kind}: {filter}");
        silent(&listener, PORT, &attempts([&internet]))?;
        silent(&listener, 8081, &attempts([&internet]))?;
        answers(PORT, &attempts([&lan]))?;
        answers(OTHER, &attempts([&internet]))?;
    }

    // A boot: it comes after the guard's rules, or before them.
    guard.kill()?;
    load(host, &format!("flush ruleset\n{older}"))?;
    silent(&listener, PORT, &attempts([&internet])).context("the programs hold")?;
    guard.restart()?;
    intact(&guard)?;
    silent(&listener, 8081, &attempts([&internet]))?;
    guard.down()?;
    ensure!(!host.run("nft", &["list", "ruleset"])?.contains("ollama_guard"));
    Ok(())
}

#[test]
fn nftables_alone_keeps_its_table_and_says_how_to_load_the_rest() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let world = World::new()?;
    let host = &world.guard;
    let internet = world.internet()?;
    let listener = Listener::http(host, PORT)?;
    host.nft(THEIRS)?;
    let guard = Guard::start(host, &Layers::Seatbelt.policy(""))?;
    ensure!(guard.status()?["seatbelt"]["owned"] == true, "this kernel has no `flags owner, persist`");
    let saved = format!("flush ruleset\n{}", host.run("nft", &["list", "ruleset"])?).replace("dport 23", "dport 2323");
    ensure!(load(host, &saved).is_err());
    silent(&listener, PORT, &attempts([&internet]))?;

    // As the log says.
    let log = guard.log();
    let (_, command) = log.split_once("leave the table out: ").with_context(|| log.clone())?;
    let (command, _) = command.split_once(" FILE | nft -f -").with_context(|| log.clone())?;
    let folder = leftovers::folder()?;
    let file = folder.path().join("saved.nft");
    fs::write(&file, &saved)?;
    let line = format!("{command} {} | nft -f -", file.display());
    host.run("sh", &["-c", &line])?;
    ensure!(host.run("nft", &["list", "table", "inet", "filter"])?.contains("2323"));
    silent(&listener, PORT, &attempts([&internet]))?;
    intact(&guard)
}

/// As a version wrote it that owned its table.
fn owned(saved: &str) -> String {
    saved.replace("table inet ollama_guard {", "table inet ollama_guard {\n\tflags owner")
}

fn load(host: &Netns, text: &str) -> Result<()> {
    let folder = leftovers::folder()?;
    let file = folder.path().join("saved.nft");
    fs::write(&file, text)?;
    host.run("nft", &["-f", &file.display().to_string()]).map(drop)
}

fn intact(guard: &Guard<'_>) -> Result<()> {
    guard.status_when("the table to be intact", |status| status["seatbelt"]["state"] == "intact").map(drop)
}
