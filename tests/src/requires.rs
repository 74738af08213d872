//! What a suite needs from the machine, and what happens where that is missing: `skipped: why`, or a failure in CI.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Set to 1 where everything is expected to run: a skip becomes a failure.
pub const NO_SKIP: &str = "OLLAMA_GUARD_NO_SKIP";

/// Ends the test, saying why, unless every need is met. For tests that return `anyhow::Result<()>`.
///
/// ```ignore
/// require!(requires::root(), requires::tool("nmap"));
/// ```
#[macro_export]
macro_rules! require {
    ($($need:expr),+ $(,)?) => {
        $(if let Err(why) = $need {
            $crate::requires::skipped(&why.to_string());
            return Ok(());
        })+
    };
}

/// Says that a suite was skipped, past the test runner's capture.
///
/// # Panics
///
/// Under `OLLAMA_GUARD_NO_SKIP=1`.
pub fn skipped(why: &str) {
    assert!(env::var(NO_SKIP).as_deref() != Ok("1"), "would be skipped, but {NO_SKIP}=1: {why}");
    // The macro `eprintln!` is captured for tests that pass; a skip must be seen.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The user is root, and the machine lets root make network namespaces.
pub fn root() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("needs root, to make network namespaces".into());
    }
    tool("ip")
}

/// The BPF file system is mounted where the guard pins.
pub fn bpffs() -> Result<(), String> {
    let mounts = std::fs::read_to_string("/proc/mounts").map_err(|error| format!("/proc/mounts: {error}"))?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        Ok(())
    } else {
        Err("needs the BPF file system: mount -t bpf bpf /sys/fs/bpf".into())
    }
}

/// The guard's binary has been built.
pub fn guard() -> Result<(), String> {
    let binary = crate::guard::binary();
    if binary.is_file() {
        Ok(())
    } else {
        Err(format!("needs the guard: {} does not exist (cargo xtask build)", binary.display()))
    }
}

/// A program of this name is on the path.
pub fn tool(name: &str) -> Result<(), String> {
    find_tool(name).map(drop).ok_or_else(|| format!("needs the program {name}"))
}

/// Where on the path (or where administrators' programs are) the program is.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// `WireGuard` tunnels can be made here, by the userspace implementation.
pub fn wireguard() -> Result<(), String> {
    tool("wireguard-go").and(tool("wg")).and(file("/dev/net/tun"))
}

/// The kernel has this file, as `/dev/net/tun`.
pub fn file(path: &str) -> Result<(), String> {
    if Path::new(path).exists() { Ok(()) } else { Err(format!("needs {path}")) }
}
