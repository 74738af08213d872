//! `cargo xtask setup`: installs what is missing and does nothing when all is there.

use crate::{
    install::{self, Manager},
    need::{self, Need},
    real, sh,
    toolchain::{self, Toolchain},
};
use anyhow::{Context as _, Result, bail};
use std::{path::Path, process::Command, time::Duration};

/// The last bpf-linker that brings no LLVM of its own but uses the compiler's: nothing has to match by hand.
const BPF_LINKER: &str = "0.10.4";

/// All the build needs; with `real`, also what the tests with the real Ollama and Tailscale need.
pub(crate) fn setup(real: bool) -> Result<()> {
    build_needs()?;
    if real {
        real::setup()?;
    }
    eprintln!("setup: everything is there");
    Ok(())
}

/// What the build needs. Silent and quick when it is there.
pub(crate) fn build_needs() -> Result<()> {
    let missing = install_missing(need::BUILD)?;
    if !missing.is_empty() {
        bail!("still missing for the build: {}", missing.join(", "));
    }
    compiler()?;
    if toolchain::find_linker().is_err() {
        say("bpf-linker", "links the kernel programs");
        cargo_install("bpf-linker", BPF_LINKER)?;
    }
    Toolchain::find()?;
    Ok(())
}

/// What the tests need. A tool that cannot be had is not an error: the suites that need it say so and skip.
pub(crate) fn test_needs() {
    optional_needs(need::TEST);
    // Where systemd runs, Debian starts what it installs.
    if std::env::var_os("CI").is_some() || !Path::new("/run/systemd/system").exists() {
        optional_needs(need::DISPOSABLE);
    } else if let Some(need) = need::DISPOSABLE.iter().find(|need| !need.is_met()) {
        eprintln!(
            "{} is not installed for you: it would close this machine's ports; its tests will be skipped",
            need.what
        );
    }
}

/// What the tests in virtual machines need, likewise.
pub(crate) fn machine_needs() {
    optional_needs(need::MACHINE);
}

fn optional_needs(needs: &[Need]) {
    match install_missing(needs) {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => eprintln!("missing for some tests: {}", missing.join(", ")),
        Err(error) => eprintln!("some tests will be skipped: {error:#}"),
    }
}

/// Builds a cargo tool from source.
pub(crate) fn cargo_install(name: &str, version: &str) -> Result<()> {
    let mut cargo = sh::cargo("install");
    // --force: cargo may remember an installation whose program is gone.
    cargo.args(["--locked", "--force", "--version", version, name]);
    // Without network: seconds, not minutes.
    cargo.env("CARGO_NET_RETRY", "1").env("CARGO_HTTP_TIMEOUT", "10");
    sh::run(&mut cargo)
        .with_context(|| format!("{name} {version} is missing and cargo could not install it; is the network up?"))
}

/// Announces something missing.
pub(crate) fn say(what: &str, why: &str) {
    eprintln!("missing: {what} ({why})");
}

/// Installs what is missing of a list; the answer is what is missing still.
fn install_missing(needs: &[Need]) -> Result<Vec<&'static str>> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let manager = Manager::find().unwrap_or(Manager::Apt); // its names are the ones printed when there is none
    let mut names = Vec::new();
    for need in &missing {
        say(need.what, need.why);
        names.extend(manager.names(&need.packages));
    }
    install::install(&names)?;
    Ok(missing.into_iter().filter(|need| !need.is_met()).map(|need| need.what).collect())
}

/// A compiler with its library source: rustup's component is a small download; else the distribution's packages.
fn compiler() -> Result<()> {
    if toolchain::find_rustc().is_ok() {
        return Ok(());
    }
    say("the Rust library source", "the BPF target has no compiled `core`; cargo builds it");
    if sh::find_program("rustup").is_some() {
        let mut rustup = Command::new("rustup");
        match sh::run_within(Duration::from_mins(2), rustup.args(["component", "add", "rust-src"])) {
            Ok(()) if toolchain::find_rustc().is_ok() => return Ok(()),
            Ok(()) => {}
            Err(error) => eprintln!("{error:#}; trying the distribution's packages"),
        }
    }
    let manager = Manager::find().unwrap_or(Manager::Apt);
    let names: Vec<_> = manager.names(&need::COMPILER).collect();
    install::install(&names)
        .context("no Rust library source: `rustup component add rust-src` did not bring it either")?;
    toolchain::find_rustc()?;
    Ok(())
}
