//! The first process of a virtual machine: mounts what a system has mounted, runs the suites it was given one after
//! the other, says on the console what became of each, and ends the machine. See `xtask/src/vm.rs`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// What the host looks for on the console: `MARK <suite> <verdict>`, at last `MARK end`.
const MARK: &str = "@guest";
/// The test programs.
const SUITES: &str = "/suites";

fn main() {
    match run() {
        Ok(()) => println!("{MARK} end"),
        Err(error) => println!("{MARK} broken: {error:#}"),
    }
    // As the first process we cannot end: that would be a panic of the kernel.
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    println!("cannot end the machine: {error}");
}

fn run() -> Result<()> {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("bpf", "/sys/fs/bpf"),
        ("tracefs", "/sys/kernel/tracing"),
    ] {
        fs::create_dir_all(place).with_context(|| format!("making {place}"))?;
        let options = if kind == "bpf" { Some("mode=0700") } else { None };
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options).with_context(|| format!("mounting {place}"))?;
    }
    for module in fs::read_to_string("/modules").unwrap_or_default().split_whitespace() {
        if !Command::new("modprobe").arg(module).status().is_ok_and(|status| status.success()) {
            println!("this kernel has no module {module}");
        }
    }
    let mut suites: Vec<_> = fs::read_dir(SUITES)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    suites.sort();
    for suite in suites {
        let name = suite.file_name().unwrap_or_default().to_string_lossy();
        println!("{MARK} {name} {}", verdict(&suite));
    }
    Ok(())
}

fn verdict(suite: &Path) -> String {
    // One test at a time: an emulated processor is slow enough to make the tests' patience run out.
    // What other kernels may lack, these have.
    match Command::new(suite)
        .args(["--test-threads=1", "--nocapture", "--include-ignored"])
        .args(std::env::args().skip(1))
        .status()
    {
        Ok(status) if status.success() => "passed".to_owned(),
        Ok(status) => format!("failed: {status}"),
        Err(error) => format!("failed: {error}"),
    }
}
