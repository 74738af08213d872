//! Other people's programs. The foreign XDP program is that of a second guard with
//! another port and directories of its own: to the first it is a stranger's.

use anyhow::Result;
use serde_json::json;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, Outcome};
use tests::prog_run::Foreign;
use tests::topology::World;
use tests::{require, requires};

use super::PORT;

const THEIRS: u16 = 9999;

#[test]
fn a_foreign_xdp_program_is_left_alone() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (listener, theirs) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, THEIRS)?);
    let service = format!("ollama = false\n[[service]]\nname = \"theirs\"\nports = [{THEIRS}]");
    let mut foreign = Guard::start(&world.guard, &Layers::Xdp.policy(&service))?;
    assert_eq!(foreign.interface("inet0")?["hook"], "xdp-native");

    let guard = Guard::start(&world.guard, &Layers::Xdp.policy(""))?;
    let row = guard.interface("inet0")?;
    assert_eq!(row["hook"], "tcx", "{row:#}");
    assert!(row["hook_reason"].as_str().is_some_and(|why| why.contains("XDP program")), "{row:#}");
    silent(&listener, PORT, &attempts([&internet]))?;
    silent(&theirs, THEIRS, &attempts([&internet]))?;
    assert_eq!(foreign.command(&["status", "--quiet"])?.status.code(), Some(0));

    // Once it is gone, so is the obstacle. The kernel tells nobody of that: it is seen when the daemon looks next, at the latest
    // after 30 s, and here at another change of the interface.
    foreign.down()?;
    world.guard.ip("link set inet0 alias looked-at")?;
    guard.interface_when("inet0", "moved to XDP", |row| row["hook"] == "xdp-native")?;
    answers(THEIRS, &attempts([&internet]))?;
    silent(&listener, PORT, &attempts([&internet]))
}

#[test]
fn the_usual_way_to_detach_xdp_fails_on_ours() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let _guard = Guard::start(&world.guard, &Layers::Xdp.policy(""))?;
    for off in ["xdp", "xdpdrv"] {
        assert!(world.guard.ip(&format!("link set dev inet0 {off} off")).is_err(), "{off}");
    }
    // Takes away generic XDP, of which there is none.
    world.guard.ip("link set dev inet0 xdpgeneric off")?;
    silent(&listener, PORT, &attempts([&internet]))
}

/// The alarm counts from what nftables had dropped before the programs were there, and a flushed table counts anew.
#[test]
fn a_way_around_the_programs_is_told_after_a_flush_too() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &Layers::Seatbelt.policy(""))?;
    for _ in 0..2 {
        silent(&listener, PORT, &attempts([&internet]))?;
    }
    guard.reload(&Layers::Both.policy(""))?;
    guard.attached_as("inet0", "guarded")?;
    let status = guard.status_when("both layers", |status| status["problems"] == json!([]))?;
    assert!(status["seatbelt"]["dropped_packets"].as_u64() >= Some(4), "{status:#}");

    guard.kill()?;
    world.guard.nft("flush ruleset")?;
    guard.run()?;
    guard.enforces()?;
    let _accepting = world.guard.enter(|| Foreign::first_at_tcx("inet0"))??;
    assert_eq!(probe::tcp(&internet.ns, internet.guard.v4, PORT)?, Outcome::Silent);
    guard.status_when("the alarm", |status| status["problems"].to_string().contains("nftables caught")).map(drop)
}
