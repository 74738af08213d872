//! `cargo xtask test`: sets up, builds, and runs the tests with root's rights.

use crate::{
    bpffs, compile, setup,
    sh::{self, cargo},
};
use anyhow::{Result, bail};
use std::{env, ffi::OsString, process::Command};

/// Runs all suites, or one.
pub(crate) fn test(only: Option<&str>, arguments: &[OsString]) -> Result<()> {
    let binary = compile::compile(false)?;
    setup::test_needs();
    let bpffs = bpffs::mount()?;

    let mut cargo = cargo("test");
    cargo.args(["--locked", "--workspace", "--exclude=ollama-guard-ebpf", "--no-fail-fast"]);
    match only {
        Some("unit") => drop(cargo.args(["--lib", "--bins"])),
        Some(suite) => drop(cargo.args(["--test", suite])),
        None => {}
    }
    cargo.arg("--").args(arguments);
    cargo.env("OLLAMA_GUARD_BIN", &binary);
    let outcome = as_root(&mut cargo).and_then(|()| sh::run(&mut cargo));
    bpffs.unmount();
    outcome
}

/// Gives the programs that cargo starts root's rights, but not cargo: what it writes stays the caller's.
pub(crate) fn as_root(cargo: &mut Command) -> Result<()> {
    if !sh::is_root() {
        eprintln!("this makes network namespaces and loads kernel programs: asking sudo");
        cargo.env(runner_variable()?, "sudo --preserve-env");
    }
    Ok(())
}

/// Cargo's variable for the program that starts test programs.
fn runner_variable() -> Result<String> {
    let arch = env::consts::ARCH;
    let libc = match () {
        () if cfg!(target_env = "gnu") => "GNU",
        () if cfg!(target_env = "musl") => "MUSL",
        () => bail!("cannot tell this platform's name in cargo; run this as root"),
    };
    Ok(format!("CARGO_TARGET_{}_UNKNOWN_LINUX_{libc}_RUNNER", arch.to_uppercase()))
}
