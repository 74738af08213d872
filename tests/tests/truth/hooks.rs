//! Where a program really is, and who is before it: the kernel's word, not a pin's. What somebody took away is told.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::bpf;
use tests::guard::{self, Guard};
use tests::layers::Layers;
use tests::prog_run::Foreign;
use tests::topology::World;
use tests::{require, requires};

/// The pin of an interface's link.
pub(crate) fn link(pins: &Path, interface: u64) -> Result<PathBuf> {
    let versions = fs::read_dir(pins)?.flatten().map(|entry| entry.path().join(format!("links/{interface}")));
    versions.into_iter().next().context("nothing is pinned")
}

fn problems<'a>(status: &'a Value, subject: &str) -> Vec<&'a str> {
    let all = status["problems"].as_array().into_iter().flatten();
    all.filter(|one| one["subject"] == subject).filter_map(|one| one["problem"].as_str()).collect()
}

fn has_tcx(guard: &Guard<'_>) -> Result<bool> {
    Ok(guard.interface("inet0")?["hook"] == "tcx")
}

#[test]
fn a_foreign_program_in_front_is_named() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let guard = Guard::start(&world.guard, &Layers::Both.policy(""))?;
    if !has_tcx(&guard)? {
        return Ok(());
    }
    assert_eq!(guard.status()?["problems"], json!([]));
    let foreign = world.guard.enter(|| Foreign::first_at_tcx("inet0"))??;
    let status = guard.status()?;
    let said = problems(&status, "inet0");
    ensure!(said.iter().any(|said| said.contains("another program sees packets first (program ")), "{status:#}");
    drop(foreign);
    assert_eq!(guard.status()?["problems"], json!([]));
    Ok(())
}

/// Two namespaces that share a pin directory by mistake, with interfaces of the same number: a pin is no proof.
#[test]
fn a_pin_of_another_namespace_s_interface_is_no_program_here() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    for attach in ["tc", "xdp", "xdp-generic"] {
        let (world, other) = (World::new()?, World::new()?);
        let _internet = world.internet()?;
        let mut guard = Guard::start(&world.guard, &format!("seatbelt = false\nattach = \"{attach}\""))?;
        let row = guard.interface("inet0")?;
        if row["hook"] == "clsact" {
            return Ok(()); // A filter is asked of this namespace's interface anyway.
        }
        other.guard.ip(&format!("link add inet0 index {} type bridge\nlink set inet0 up", row["index"]))?;
        guard.kill()?;
        let program = guard::binary();
        let config = guard.config();
        let arguments = ["status", "--json", "--config", config.to_str().context("no text")?];
        let output = other.guard.output(program.to_str().context("no text")?, &arguments)?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(status["enforcing"] == false, "{attach}: {status:#}");
        ensure!(problems(&status, "inet0").len() == 1, "{attach}: {status:#}");
        // Where it is, it is.
        let here = guard.interface("inet0")?;
        ensure!(here["hook"] == row["hook"], "{attach}: {here:#}");
    }
    Ok(())
}

#[test]
fn a_hook_that_somebody_removed_is_put_back_counted_and_told() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    for attach in ["tc", "xdp", "xdp-generic"] {
        let world = World::new()?;
        let _internet = world.internet()?;
        let mut guard = Guard::start(&world.guard, &format!("attach = \"{attach}\""))?;
        let row = guard.interface("inet0")?;
        let pin = link(guard.pins(), row["index"].as_u64().context("no index")?)?;
        let status = guard.status()?;
        assert_eq!((&status["hook_repairs"], &status["last_repair"]), (&json!(0), &Value::Null));
        if row["hook"] == "clsact" {
            return Ok(());
        }
        bpf::detach(&pin)?;
        // The kernel tells nobody; the daemon looks at another change.
        world.guard.ip("link set inet0 alias looked-at")?;
        let status = guard.status_when("a repair", |status| status["hook_repairs"] == 1)?;
        ensure!(status["last_repair"]["what"] == "the program on inet0", "{attach}: {status:#}");
        assert_eq!(guard.interface("inet0")?["hook"], row["hook"]);
        fs::remove_file(&pin)?;
        let status = guard.status_when("another", |status| status["hook_repairs"] == 2)?;
        ensure!(status["last_repair"]["what"] == "the pin of the program on inet0", "{attach}: {status:#}");
        let said = guard.command(&["status"])?;
        let said = String::from_utf8_lossy(&said.stdout);
        ensure!(said.contains("somebody removed or changed the pin of the program on inet0"), "{said}");
        ensure!(guard.log().contains("somebody removed the program on inet0; it is back"), "{}", guard.log());
        let page = guard.command(&["metrics"])?;
        let page = String::from_utf8_lossy(&page.stdout);
        ensure!(page.contains("ollama_guard_hook_repairs_total 2"), "{page}");
        // What changes for other reasons is no repair, and the number outlives the daemon.
        guard.reload("[[service]]\nname = \"x\"\nports = [3000]")?;
        guard.status_when("another policy", |status| status["services"].to_string().contains("3000"))?;
        world.guard.ip("link set inet0 down\nlink set inet0 up")?;
        guard.restart()?;
        assert_eq!(guard.status()?["hook_repairs"], json!(2), "{attach}: {}", guard.log());
    }
    Ok(())
}
