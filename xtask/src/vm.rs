//! `cargo xtask test --vm`: the suites on kernels other than this machine's.
//!
//! Each kernel that Debian offers for virtual machines is fetched as a package and unpacked, never installed; QEMU
//! boots it with a file system in memory that holds the test programs, the guard, and what both need. Software
//! emulation: slow, and the same everywhere.

mod archive;
pub(crate) mod boot;
mod content;
mod debian;
mod machine;

use crate::{compile, setup, sh};
use anyhow::{Context as _, Result, bail};
use debian::Release;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The kernels: what a person calls them, and the part of Debian whose current kernel that is.
const KERNELS: &[(&str, &str)] =
    &[("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "bookworm-backports"), ("newest", "trixie-backports")];

/// The suites that run in a machine: what depends on the kernel.
const SUITES: &[&str] = &["kernel", "clsact", "devices", "flowtable", "ipsec", "ipvs", "mpls", "onward"];

/// Not a kernel but a whole system, see [`mod@boot`]: only when it is named.
const BOOT: &str = "boot";

/// Boots each kernel, or those named (`5.10`, `newest`), and runs the suites there.
pub(crate) fn test(kernels: &[String], arguments: &[OsString]) -> Result<()> {
    if let Some(unknown) = kernels.iter().find(|name| *name != BOOT && !KERNELS.iter().any(|(known, _)| known == name))
    {
        let known: Vec<_> = KERNELS.iter().map(|(name, _)| *name).collect();
        bail!("no kernel is called {unknown}; there are {}, and {BOOT}", known.join(", "));
    }
    if let Err(why) = requirements() {
        return skip(&why);
    }
    if kernels == [BOOT] {
        return boot(arguments);
    }
    let binary = compile::compile(false)?;
    let programs = programs()?;
    let folder = folder()?;
    let wanted = KERNELS.iter().filter(|(name, _)| kernels.is_empty() || kernels.iter().any(|kernel| kernel == name));
    let mut failed = Vec::new();
    for (name, release) in wanted {
        let kernel = match Release::new(release, &folder).kernel() {
            Ok(kernel) => kernel,
            Err(error) => {
                skip(&format!("kernel {name} cannot be fetched: {error:#}"))?;
                continue;
            }
        };
        eprintln!("=== kernel {}", kernel.version);
        let image = folder.join("initramfs");
        content::write(&image, &kernel, &binary, &programs)?;
        let verdict = machine::run(&kernel, &image, arguments);
        match &verdict {
            Ok(suites) => println!("kernel {}: {}", kernel.version, suites.join(", ")),
            Err(error) => println!("kernel {}: {error:#}", kernel.version),
        }
        if verdict.is_err() {
            failed.push(kernel.version);
        }
    }
    if !failed.is_empty() {
        bail!("failed on {}", failed.join(", "));
    }
    if kernels.iter().any(|name| name == BOOT) { boot(arguments) } else { Ok(()) }
}

fn boot(arguments: &[OsString]) -> Result<()> {
    match boot::requirements() {
        Ok(()) => boot::test(&folder()?, arguments.iter().any(|word| word == "unguarded")),
        Err(why) => skip(&why),
    }
}

/// Where kernels and file systems are kept.
fn folder() -> Result<PathBuf> {
    let folder = sh::target_dir()?.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// What a person has to have; installed by the first run where that can be done.
fn requirements() -> std::result::Result<(), String> {
    setup::machine_needs();
    for program in ["qemu-system-x86_64", "apt-get", "dpkg-deb", "depmod", "ldd"] {
        if sh::find_program(program).is_none() {
            return Err(format!("needs the program {program}"));
        }
    }
    if cfg!(target_arch = "x86_64") { Ok(()) } else { Err("the machines run programs of x86-64 only".to_owned()) }
}

/// Says so, or fails where everything is expected to run (as in `tests/src/requires.rs`).
fn skip(why: &str) -> Result<()> {
    if std::env::var_os("OLLAMA_GUARD_NO_SKIP").is_some_and(|value| value == "1") {
        bail!("would be skipped, but OLLAMA_GUARD_NO_SKIP=1: {why}");
    }
    eprintln!("skipped: {why}");
    Ok(())
}

/// The test programs by the names of their suites, and the machine's first process.
struct Programs {
    suites: Vec<(&'static str, PathBuf)>,
    init: PathBuf,
}

/// Builds them; cargo tells where they lie.
fn programs() -> Result<Programs> {
    let mut cargo = sh::cargo("test");
    // As `cargo xtask test` builds them, so that neither undoes the other's work. The first process comes along.
    cargo.args(["--locked", "--workspace", "--exclude=ollama-guard-ebpf", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.args(SUITES.iter().map(|suite| format!("--test={suite}")));
    let output = cargo.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("the test programs did not build");
    }
    let find = |suite: &'static str| {
        let source = format!("/tests/{suite}.rs\"");
        let line = text.lines().find(|line| line.contains(&source) && line.contains("\"executable\":\""));
        let rest = line.and_then(|line| line.split_once("\"executable\":\"")).map(|(_, rest)| rest);
        let path = rest.and_then(|rest| rest.split('"').next()).map(PathBuf::from);
        path.map(|path| (suite, path)).with_context(|| format!("cargo named no program of the suite {suite}"))
    };
    let suites = SUITES.iter().map(|suite| find(suite)).collect::<Result<_>>()?;
    Ok(Programs { suites, init: sh::target_dir()?.join("debug/guest") })
}

/// What a command printed; it has to succeed.
fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
