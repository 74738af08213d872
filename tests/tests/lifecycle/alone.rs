//! Each layer stands without the other, whatever the reason; what is missing is told, and tried again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::topology::World;
use tests::{require, requires};

use super::PORT;

const SOON: Duration = Duration::from_secs(20);
/// The daemon's longest pause, and then some.
const AGAIN: Duration = Duration::from_mins(1);

const NO_BPFFS: [&str; 5] = ["unshare", "--mount", "sh", "-c", "umount -l /sys/fs/bpf; exec \"$0\" \"$@\""];
const NO_CAPABILITY: [&str; 5] =
    ["setpriv", "--bounding-set", "-all,+net_admin,+dac_override", "--inh-caps", "-all,+net_admin,+dac_override"];
const FEW_DESCRIPTORS: [&str; 2] = ["prlimit", "--nofile=16:16"];
const NO_RIGHTS: [&str; 5] = ["setpriv", "--bounding-set", "-all,+dac_override", "--inh-caps", "-all,+dac_override"];

#[test]
fn nftables_stands_without_bpf() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("prlimit"));
    for (wrapper, reason) in
        [(&NO_BPFFS[..], "mount -t bpf"), (&NO_CAPABILITY, "CAP_BPF"), (&FEW_DESCRIPTORS, "LimitNOFILE")]
    {
        let world = World::new()?;
        let internet = world.internet()?;
        let listener = Listener::http(&world.guard, PORT)?;
        let mut guard = Guard::prepare(&world.guard, "")?;
        guard.wrap(wrapper);
        guard.run()?;
        guard.process()?.logged("PARTLY enforcing", SOON)?;
        silent(&listener, PORT, &attempts([&internet]))?;
        let output = guard.command(&["status", "--json"])?;
        let status = guard.status()?;
        ensure!(output.status.code() == Some(3) && status["enforcing"] == false, "{wrapper:?}: {status:#}");
        ensure!(status["seatbelt"]["state"] == "intact", "{wrapper:?}: {status:#}");
        let problems = status["problems"].to_string();
        ensure!(
            problems.contains("eBPF layer is not in place") && problems.contains(reason),
            "{wrapper:?}: {problems}"
        );
        guard.stop()?;
        silent(&listener, PORT, &attempts([&internet]))?;
        guard.down()?;
        ensure!(guard.command(&["status", "--quiet"])?.status.code() == Some(3), "something is left");
    }
    Ok(())
}

/// Somebody's directory stands where the pins belong: refused until it is put right, and then nobody has to restart anything.
#[test]
fn a_missing_layer_is_tried_again() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::prepare(&world.guard, "")?;
    fs::create_dir(guard.pins())?;
    fs::set_permissions(guard.pins(), fs::Permissions::from_mode(0o777))?;
    guard.run()?;
    guard.process()?.logged("PARTLY enforcing", SOON)?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let told = guard.log().matches("the eBPF layer is NOT in place").count();
    ensure!(told == 1, "told {told} times: {}", guard.log());
    let busy = guard.process()?.busy()?;
    ensure!(busy < SOON / 4, "it does nothing else: {busy:?}");

    fs::set_permissions(guard.pins(), fs::Permissions::from_mode(0o700))?;
    guard.process()?.logged("the eBPF layer is in place now", AGAIN)?;
    guard.status_when("both layers", |status| status["enforcing"] == true)?;
    ensure!(guard.interface("inet0")?["hook"] == "tcx", "{:#}", guard.interface("inet0")?);
    silent(&listener, PORT, &attempts([&internet]))
}

/// As in an unprivileged guest: nothing of BPF, and the configuration says so. Then nothing is missing.
#[test]
fn a_guest_without_bpf_that_says_so_is_guarded_in_full() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::prepare(&world.guard, "wall = false")?;
    guard.wrap(&NO_BPFFS);
    guard.run()?;
    guard.enforces()?;
    silent(&listener, PORT, &attempts([&internet]))?;
    world.guard.run("nft", &["flush", "chain", "inet", "ollama_guard", "input"]).ok();
    guard.stop()?;
    let quiet = guard.command(&["status", "--quiet"])?;
    ensure!(quiet.status.code() == Some(0), "the table stands without the daemon: {}", guard.status()?);
    world.guard.nft("flush chain inet ollama_guard input")?;
    ensure!(guard.command(&["status", "--quiet"])?.status.code() == Some(3), "the table was emptied");
    Ok(())
}

#[test]
fn without_any_layer_it_says_so_and_ends() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let mut guard = Guard::prepare(&world.guard, "")?;
    guard.wrap(&NO_RIGHTS);
    let output = guard.command(&["run"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    for word in ["NOTHING CAN BE ENFORCED", "CAP_BPF", "nftables", "CAP_NET_ADMIN"] {
        ensure!(said.contains(word), "{word} is missing in: {said}");
    }
    Ok(())
}
