//! The units as they are shipped: sound, and strict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{require, requires};

/// In tenths, as `systemd-analyze security` has it: the unit alone, and with the right to ask container engines.
const ALONE: &str = "15";
const WITH_CONTAINERS: &str = "16";

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

fn exposed(unit: &Path, threshold: &str) -> Result<()> {
    let threshold = format!("--threshold={threshold}");
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["security", "--offline=true", "--no-pager", &threshold]).arg(unit).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("Overall exposure"), "{said}");
    Ok(())
}

#[test]
fn the_sandbox_leaves_little_exposed() -> Result<()> {
    require!(requires::tool("systemd-analyze"));
    let units = installed()?;
    exposed(&units.path().join("ollama-guard.service"), ALONE)?;
    // As systemd merges them.
    let both = units.path().join("both.service");
    let drop_in = fs::read_to_string(dist().join("ollama-guard.service.d/10-containers.conf"))?;
    fs::write(&both, fs::read_to_string(units.path().join("ollama-guard.service"))? + &drop_in)?;
    exposed(&both, WITH_CONTAINERS)?;
    ensure!(exposed(&both, ALONE).is_err(), "the drop-in adds nothing: is it read?");
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
