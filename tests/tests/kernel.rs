//! Whatever kernel this is, the guard holds on it: each hook takes the program of each class, on Ethernet and on
//! layer-3 devices; strangers hear nothing, friends are answered, and `status` tells what is. The kernels that the
//! guard promises to run on run this in virtual machines (`cargo xtask test --vm`).

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::listener::{Listener, UdpEcho};
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{require, requires};

const PORT: u16 = 11434;

/// A service with all that makes a program long: both protocols, allowed sources of both families, another port.
const POLICY: &str = r#"
[[service]]
name = "ollama"
ports = [11434]
protocols = ["tcp", "udp"]
[[service]]
name = "webui"
ports = [3000]
[[allow]]
source = "192.168.77.50/32"
[[allow]]
source = "fd77::/64"
service = "ollama"
[interfaces]
trusted = ["lo", "wg0", "wg1"]
[metrics]
listen = ""
"#;

macro_rules! holds {
    ($($test:ident: $hook:literal),+ $(,)?) => {
        $(#[test]
        fn $test() -> Result<()> {
            the_guard_holds(&stringify!($test).replace('_', "-"), $hook)
        })+
    };
}

// The value of `attach`, and the hook that it gives a veth.
holds!(auto: "tc", tc: "tc", clsact: "clsact", xdp_generic: "xdp-generic", xdp: "xdp-native");

/// TCX came with kernel 6.6.
fn tc_hook() -> &'static str {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|number| number.trim().parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) >= (Some(6), Some(6)) { "tcx" } else { "clsact" }
}

fn the_guard_holds(attach: &str, hook: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    // A trusted and a guarded layer-3 device: their programs are others.
    world.guard.ip("tuntap add dev wg1 mode tun\nlink set wg1 up\ntuntap add dev tun9 mode tun\nlink set tun9 up")?;
    let listener = Listener::http(&world.guard, PORT)?;
    let echo = UdpEcho::start(&world.guard, PORT)?;
    answers(PORT, &attempts([&internet, &lan, &container]))?;

    let policy = format!("attach = \"{attach}\"\n{POLICY}");
    let hook = if hook == "tc" { tc_hook() } else { hook };
    let mut guard = Guard::start(&world.guard, &policy)?;
    let status = guard.status()?;
    println!("{}", rows(&status));
    // A VPN that is not trusted, as tun9 looks like one, is a notice.
    let problems = status["problems"].as_array().context("problems")?;
    ensure!(problems.iter().all(|problem| problem["severity"] == "notice"), "{problems:?}");
    ensure!(guard.interface("inet0")?["hook"] == hook, "{}\n{}", rows(&status), guard.log());
    for interface in ["docker0", "wg1", "tun9"] {
        ensure!(guard.interface(interface)?["hook"] != "none", "{}", rows(&status));
    }

    silent(&listener, PORT, &attempts([&internet]))?;
    answers(PORT, &attempts([&lan]))?;
    let before = dropped(&guard)?;
    for address in internet.guard.both() {
        ensure!(probe::udp(&internet.ns, address, PORT)? == Outcome::Silent, "a stranger's datagram passed");
    }
    ensure!(echo.witness.seen().is_empty());
    let status = guard.status()?;
    ensure!(dropped(&guard)? == before + 2, "counted {} and before {before}", dropped(&guard)?);
    ensure!(status["seatbelt"]["dropped_packets"] == 0, "the wall let something through to nftables: {status:#}");

    // With br_netfilter loaded it is nftables that meets these first: no word on who dropped them.
    silent(&listener, PORT, &attempts([&container]))?;

    guard.kill()?;
    silent(&listener, PORT, &attempts([&internet]))?;
    guard.restart()?;
    guard.reload(&policy.replace("3000", "3001"))?;
    guard.status_when("the other port", |status| status["services"].to_string().contains("3001"))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    guard.down()?;
    answers(PORT, &attempts([&internet, &lan, &container]))
}

/// What `status` says of each interface, for the log of a kernel that somebody will look into.
fn rows(status: &Value) -> String {
    let rows = status["interfaces"].as_array().into_iter().flatten();
    let row = |row: &Value| format!("{} {} {} {}", row["name"], row["class"], row["hook"], row["hook_reason"]);
    rows.map(row).collect::<Vec<_>>().join("\n")
}

fn dropped(guard: &Guard<'_>) -> Result<u64> {
    Ok(guard.interface("inet0")?["dropped_packets"].as_u64().unwrap_or(0))
}
