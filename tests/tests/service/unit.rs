//! The units as they are shipped: sound, and strict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{require, requires};

/// In tenths, as `systemd-analyze security` takes it.
const EXPOSURE: &str = "--threshold=15";

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("dist").join("systemd")
}

/// Our units in a folder of their own, naming a program and a manual that are on every machine.
fn installed() -> Result<tempfile::TempDir> {
    let folder = tests::leftovers::folder()?;
    for unit in ["ollama-guard.service", "ollama-guard-metrics.socket"] {
        let text = fs::read_to_string(dist().join(unit))?;
        let text = text.replace("/usr/bin/ollama-guard", "/bin/true").replace("man:ollama-guard(8)", "");
        fs::write(folder.path().join(unit), text)?;
    }
    Ok(folder)
}

#[test]
fn the_sandbox_leaves_little_exposed() -> Result<()> {
    require!(requires::tool("systemd-analyze"));
    let units = installed()?;
    let unit = units.path().join("ollama-guard.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", EXPOSURE, "--no-pager"])
        .arg(unit)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("Overall exposure"), "{said}");
    Ok(())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() -> Result<()> {
    require!(requires::tool("systemd-analyze"));
    let units = installed()?;
    let files = ["ollama-guard.service", "ollama-guard-metrics.socket"].map(|unit| units.path().join(unit));
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(files).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("ollama-guard")).collect();
    ensure!(output.status.success() && ours.is_empty(), "{said}");
    Ok(())
}
