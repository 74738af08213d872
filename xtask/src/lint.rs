//! `cargo xtask lint`: formatting, clippy, documentation, dependencies. Every warning is an error.

mod deep;

use crate::{kernel::KernelBuild, setup, sh, toolchain::Toolchain};
use anyhow::{Context as _, Result, bail};
use std::{env, process::Command, time::Duration};

const CARGO_DENY: &str = "0.20.2";
const CARGO_MACHETE: &str = "0.9.1";
/// Where known vulnerabilities are listed; not everybody who builds this can reach it.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";
/// The host's crates: the kernel programs are linted on their own target.
const HOST: [&str; 3] = ["--locked", "--workspace", "--exclude=ollama-guard-ebpf"];

/// One check.
type Check = fn() -> Result<()>;

/// Runs every check, also after one has failed: one run shows all there is to do.
pub(crate) fn lint(deep: bool) -> Result<()> {
    setup::build_needs()?;
    let checks: [(&str, Check); 6] = [
        ("formatting", formatting),
        ("clippy", clippy),
        ("kernel programs", kernel_programs),
        ("documentation", documentation),
        ("dependencies", dependencies),
        ("unused dependencies", unused_dependencies),
    ];
    let mut failed = Vec::new();
    let deep = if deep { &deep::CHECKS[..] } else { &[] };
    for (name, check) in checks.iter().chain(deep) {
        if let Err(error) = check() {
            eprintln!("error: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("failed checks: {}", failed.join(", "));
    }
    eprintln!("lint: no complaint");
    Ok(())
}

fn formatting() -> Result<()> {
    sh::run(sh::cargo("fmt").args(["--all", "--check"])).context("run `cargo fmt --all`")
}

fn clippy() -> Result<()> {
    sh::run(sh::cargo("clippy").args(HOST).args(["--all-targets", "--keep-going", "--", "-Dwarnings"]))
}

fn documentation() -> Result<()> {
    let mut cargo = sh::cargo("doc");
    // Private items are documented here, so a link to one is no dead link.
    cargo.env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links");
    sh::run(cargo.args(HOST).args(["--no-deps", "--document-private-items"]))
}

/// The kernel programs on their own target: by clippy where the compiler that builds them has one, else by the
/// compiler alone.
fn kernel_programs() -> Result<()> {
    let toolchain = Toolchain::find()?;
    let build = KernelBuild {
        workspace: &sh::workspace(),
        target_dir: &sh::target_dir()?.join("lint-bpf"),
        arch: env::consts::ARCH,
        endian: if cfg!(target_endian = "big") { "big" } else { "little" },
        flags: &["-Dwarnings"],
    };
    let clippy = toolchain.rustc.path.with_file_name("cargo-clippy");
    let mut command = build.command(&toolchain, "check")?;
    if clippy.is_file() {
        // Called directly: cargo would take the one of whichever toolchain comes first in PATH.
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut with_clippy = Command::new(&clippy);
        with_clippy.arg("clippy").args(&arguments[1..]).current_dir(sh::workspace());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => with_clippy.env(name, value),
                None => with_clippy.env_remove(name),
            };
        }
        command = with_clippy;
        command.env("CARGO", &toolchain.cargo);
    }
    sh::run(&mut command)
}

/// Licences, duplicate and unwanted crates, sources; advisories where their list can be fetched.
fn dependencies() -> Result<()> {
    if sh::find_program("cargo-deny").is_none() {
        setup::say("cargo-deny", "checks the licences and sources of all dependencies");
        setup::cargo_install("cargo-deny", CARGO_DENY)?;
    }
    sh::run(sh::cargo("deny").args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    let mut reach = Command::new("git");
    reach.args(["ls-remote", "--exit-code", ADVISORIES, "HEAD"]).env("GIT_TERMINAL_PROMPT", "0");
    if sh::succeeds_within(Duration::from_secs(10), &mut reach) {
        sh::run(sh::cargo("deny").args(["--locked", "check", "advisories"]))
    } else {
        eprintln!("skipped: the list of known vulnerabilities is not reachable");
        Ok(())
    }
}

/// Every dependency of a manifest is named somewhere in its crate.
fn unused_dependencies() -> Result<()> {
    if sh::find_program("cargo-machete").is_none() {
        setup::say("cargo-machete", "finds dependencies that nothing uses");
        setup::cargo_install("cargo-machete", CARGO_MACHETE)?;
    }
    // By itself, as cargo would call it: below another cargo it takes its own name for a folder.
    sh::run(Command::new("cargo-machete").arg(sh::workspace()))
}
