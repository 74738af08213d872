//! `status` as a person sees it: on a host with hundreds of interfaces, watched, piped, refused, and in trouble.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::topology::World;
use tests::{require, requires, wait};

const SOON: Duration = Duration::from_secs(20);

fn screen(guard: &Guard<'_>, arguments: &[&str]) -> Result<String> {
    Ok(String::from_utf8(guard.command(&[&["status"], arguments].concat())?.stdout)?)
}

#[test]
fn three_hundred_interfaces_fit_a_screen() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let make = |n: u32| format!("link add va{n} type veth peer name vb{n}\nlink set va{n} up\nlink set vb{n} up");
    world.guard.ip(&(0..150).map(make).collect::<Vec<_>>().join("\n"))?;
    let guard = Guard::start(&world.guard, "")?;
    let listener = Listener::http(&world.guard, 11434)?;
    silent(&listener, 11434, &attempts([&internet]))?;

    let start = Instant::now();
    let text = screen(&guard, &[])?;
    let took = start.elapsed();
    println!("{text}in {took:?}");
    ensure!(text.lines().count() < 24 && text.contains("inet0 "), "{text}");
    ensure!(text.contains("… and 300 quiet interfaces; --all shows them"), "{text}");
    ensure!(!text.contains('\x1b') && text.contains(" · enforcing ollama (tcp 11434)"), "{text}");
    ensure!(took < Duration::from_secs(3), "{took:?}");
    let all = screen(&guard, &["--all"])?;
    for n in 0..150 {
        ensure!(all.contains(&format!("\nva{n} ")) && all.contains(&format!("\nvb{n} ")), "{all}");
    }
    ensure!(all.contains("\nhooks\n") && all.contains("  va0: tcx: "), "{all}");
    Ok(())
}

#[test]
fn watching_shows_rates() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, "")?;
    let (binary, config) = (tests::guard::binary(), guard.config());
    let (binary, config) = (binary.to_str().context("path")?, config.to_str().context("path")?);
    let watch = world.guard.spawn(binary, &["status", "--watch", "--config", config])?;
    let documents = world.guard.spawn(binary, &["status", "--watch=1", "--json", "--config", config])?;
    let row = |text: &str| -> Option<u64> {
        // INTERFACE PORT CLASS HOOK PASSED PER S DROPPED PER S LAST DROP
        let row = text.lines().rev().find(|line| line.starts_with("inet0 "))?;
        row.split_whitespace().nth(7)?.parse().ok()
    };
    wait::until("a rate", SOON, || {
        let sent = tests::probe::tcp(&internet.ns, internet.guard.v4, 11434);
        sent.is_ok() && row(&watch.log()).is_some_and(|rate| rate > 0)
    })
    .with_context(|| watch.log())?;
    ensure!(watch.log().contains("PER S") && !watch.log().contains('\x1b'), "{}", watch.log());
    wait::until("two documents, one a line", SOON, || {
        let log = documents.log();
        log.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count() >= 2
    })
    .with_context(|| documents.log())
}

#[test]
fn a_refused_container_is_told_the_line_that_lets_it_in() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let container = world.container()?;
    let listener = Listener::http(&world.guard, 11434)?;
    let mut guard = Guard::start(&world.guard, "seatbelt = false")?;
    silent(&listener, 11434, &attempts([&container]))?;
    let text = screen(&guard, &[])?;
    let line = "container_access = \"allow\"";
    ensure!(text.contains(" from containers on docker0 to this host's guarded ports were dropped"), "{text}");
    ensure!(
        text.contains(&format!("to allow them: {line} under [interfaces] in {}", guard.config().display())),
        "{text}"
    );
    // And it does.
    guard.reload(&format!("seatbelt = false\n[interfaces]\n{line}"))?;
    let answers = || tests::claims::answers(11434, &attempts([&container])).is_ok();
    wait::until("the container to be answered", SOON, answers)?;
    ensure!(!screen(&guard, &[])?.contains("to allow them:"));
    Ok(())
}

#[test]
fn every_problem_says_what_to_do() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, "")?;
    guard.kill()?;
    world.guard.run("nft", &["delete", "table", "inet", "ollama_guard"])?;
    let _lan = world.lan()?;
    let text = screen(&guard, &[])?;
    let problems: Vec<&str> =
        text.split("\n\n").filter(|part| part.starts_with("PROBLEM ") || part.starts_with("WARNING ")).collect();
    for what in ["PROBLEM lan0: no eBPF program is attached", "PROBLEM nftables: ", "WARNING daemon: "] {
        ensure!(problems.iter().any(|problem| problem.starts_with(what)), "{what}: {text}");
    }
    ensure!(problems.iter().all(|problem| problem.contains("\n        next: ")), "{text}");
    ensure!(
        text.contains("ONLY PARTLY ENFORCING ollama") && text.contains("nftables inet ollama_guard · MISSING"),
        "{text}"
    );
    Ok(())
}
