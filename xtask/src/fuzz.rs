//! `cargo xtask fuzz`: coverage-guided fuzzing by cargo-fuzz, or generated packets at full speed.

use crate::{
    setup,
    sh::{self, cargo},
    test,
};
use anyhow::{Result, bail};
use std::process::Command;

const CARGO_FUZZ: &str = "0.13.2";
/// `tests/fuzz/fuzz_targets`; `kernel` needs root. There is none for what nftables answers: libnftnl reads that, and ends the
/// process at the first attribute of a wrong length.
const TARGETS: [&str; 6] = ["classifier", "config", "web", "netlink", "procfs", "kernel"];

/// Fuzzes one target for this long, or each in turn. `generated`: packets from a generator instead, which follows no
/// coverage and is some hundred times faster.
pub(crate) fn fuzz(target: Option<&str>, seconds: u64, generated: bool) -> Result<()> {
    if let Some(unknown) = target.filter(|target| !TARGETS.contains(target)) {
        bail!("there is no fuzz target {unknown}; there are: {}", TARGETS.join(", "));
    }
    setup::build_needs()?;
    if generated {
        return hammer(target.unwrap_or("classifier"), seconds);
    }
    TARGETS.into_iter().filter(|one| target.is_none_or(|target| target == *one)).try_for_each(|target| {
        let mut command = cargo_fuzz("run")?;
        command.args([target, "--"]);
        command.args([
            format!("-max_total_time={seconds}"),
            "-max_len=4096".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        sh::run(&mut command)
    })
}

/// Do all targets compile? No other build includes them.
pub(crate) fn check() -> Result<()> {
    sh::run(&mut cargo_fuzz("check")?)
}

fn cargo_fuzz(subcommand: &str) -> Result<Command> {
    if sh::find_program("cargo-fuzz").is_none() {
        setup::say("cargo-fuzz", "builds the fuzz targets with instrumentation and runs them");
        setup::cargo_install("cargo-fuzz", CARGO_FUZZ)?;
    }
    let mut command = Command::new("cargo");
    // The instrumentation is no stable option of the compiler; this makes any compiler take it.
    command.env("RUSTC_BOOTSTRAP", "1").current_dir(sh::workspace().join("tests/fuzz"));
    // No sanitizer: it would have to build the standard library, and there is hardly unsafe code to watch.
    command.args(["fuzz", subcommand, "--fuzz-dir", ".", "--sanitizer", "none"]);
    Ok(command)
}

fn hammer(target: &str, seconds: u64) -> Result<()> {
    if !["classifier", "kernel"].contains(&target) {
        bail!("packets are generated for the targets classifier and kernel, not for {target}");
    }
    let mut cargo = cargo("run");
    cargo.args(["--locked", "--release", "--package=tests", "--bin=hammer", "--", target, &seconds.to_string()]);
    test::as_root(&mut cargo)?;
    sh::run(&mut cargo)
}
