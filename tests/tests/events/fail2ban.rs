//! The real fail2ban on lines that a real guard printed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::guard::Guard;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{POLICY, SOON, send};

const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/fail2ban");

#[test]
fn it_finds_every_sender_and_nobody_else() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("fail2ban-regex"));
    let world = World::new()?;
    let internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, POLICY)?;
    for (from, to) in internet.own.both().into_iter().zip(internet.guard.both()) {
        send(&internet.ns, from, to, 30)?;
    }
    wait::until("four lines", SOON, || guard.log().matches(" dropped ").count() == 4)?;
    guard.stop()?;
    let log = guard.log();
    let file = guard.config().with_file_name("guard.log");
    fs::write(&file, &log)?;
    let mut found = addresses(&file)?;
    found.sort();
    ensure!(found == ["2001:db8:1::9", "2001:db8:1::9", "203.0.113.9", "203.0.113.9"], "{found:?}\n{log}");

    // As the journal shows the same lines.
    let messages =
        log.lines().filter_map(|line| Some(line.split_once("INFO ")?.1)).filter(|said| said.starts_with("dropped"));
    let journal: Vec<String> = messages
        .map(|message| format!("2026-11-21T14:00:00+0000 host ollama-guard[4711]: {}\n", message.trim()))
        .collect();
    fs::write(&file, journal.concat())?;
    ensure!(addresses(&file)?.len() == 4, "{journal:#?}");

    // What observe mode lets through is nobody's fault yet.
    guard.configure(&format!("mode = \"observe\"\n{POLICY}"))?;
    guard.run()?;
    wait::until("the daemon to observe", SOON, || guard.log().contains("OBSERVING"))?;
    send(&internet.ns, internet.own.v4.into(), internet.guard.v4.into(), 1)?;
    wait::until("the line", SOON, || guard.log().contains("would drop 203.0.113.9"))?;
    fs::write(&file, guard.log())?;
    ensure!(addresses(&file)?.is_empty(), "{}", guard.log());
    Ok(())
}

/// Whom the filter finds in a log.
fn addresses(log: &Path) -> Result<Vec<String>> {
    let filter = format!("{DIST}/filter.d/ollama-guard.conf");
    let log = log.to_str().context("path")?;
    let output = Command::new("fail2ban-regex").args(["--out", "ip", log, &filter]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!error.contains("ERROR"), "{error}");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
