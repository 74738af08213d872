//! Network namespaces: made, entered, and removed with everything that runs in them.

use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::leftovers;
use crate::process::Process;
use crate::wait;

/// Where `ip netns` keeps its names.
pub const DIRECTORY: &str = "/run/netns";

/// A network namespace of our own; dropping it kills what runs in it and removes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace, with its loopback up. The role ends its name: `og-<pid>-<n>-<role>`.
    pub fn new(role: &str) -> Result<Self> {
        leftovers::sweep();
        let namespace = Self { name: leftovers::unique_name(role) };
        run(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        namespace.ip("link set lo up")?;
        // No duplicate address detection: until it is done with a router's link-local address (a second), the router
        // cannot ask for its neighbors, and what it should forward is lost.
        namespace.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        Ok(namespace)
    }

    /// Its name, as `ip -n NAME` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(&self.name)
    }

    /// Runs lines of `ip` commands here, in one process; empty lines and lines from `#` on are ignored.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        feed(command.args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// Loads nftables rules here, as `nft -f` reads them.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        feed(&mut self.command("nft", &["-f", "-"]), ruleset)
    }

    /// A command that will run here. It sees the host's file systems (`ip netns exec` would hide the BPF one).
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command here to its end, whatever that is.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.command(program, arguments).output();
        output.with_context(|| format!("running {program} in {}", self.name))
    }

    /// Runs a command here that must succeed; returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(program, arguments))
    }

    /// Starts a process here that lives until it is dropped, or until the thread that started it ends.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Result<Process> {
        Process::spawn(&self.command(program, arguments), program)
    }

    /// Runs a closure on a thread that has entered the namespace. Sockets it makes belong there for good.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        let namespace = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, nix::Error>(work())
            });
            match entered.join() {
                Ok(result) => result.with_context(|| format!("entering {}", path.display())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// An interface's MAC address.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let text = self.run("ip", &["-json", "link", "show", interface])?;
        let links: Value = serde_json::from_str(&text)?;
        let text = links[0]["address"].as_str().context("an interface without an address")?;
        let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().ok().with_context(|| format!("{text:?} is no MAC address"))
    }

    /// Writes a setting under `net`, as `net.ipv4.ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        self.enter(|| fs::write(&file, value))?.with_context(|| format!("writing {value} to {file}"))
    }

    /// Waits until an address is this host's for packets too: by IPv6 some time after `ip address add` (`addrconf_dad_work`).
    pub fn takes(&self, address: IpAddr) -> Result<()> {
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        let local = || self.run("ip", &[family, "route", "show", "table", "local", &address.to_string()]);
        wait::until("the address to be the host's", Duration::from_secs(10), || {
            local().is_ok_and(|route| !route.is_empty())
        })
    }

    /// Lets the namespace route, v4 and v6.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.sysctl("net.ipv6.conf.all.forwarding", "1")
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        destroy(&self.name);
    }
}

/// Kills what runs in a namespace of ours and removes it. What is already gone is fine.
pub(crate) fn destroy(name: &str) {
    if let Ok(pids) = run(Command::new("ip").args(["netns", "pids", name])) {
        for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
}

/// Runs a command that must succeed; returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command that must succeed, giving it `input` to read.
fn feed(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
    let mut stdin = child.stdin.take().context("the command's standard input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\nits input:\n{input}", error.trim());
    Ok(())
}
