//! The hook of kernels before 6.6, on whatever kernel runs this: a filter on the clsact qdisc, which is nobody's
//! property. Alone, without the nftables layer, so that what is seen is its doing.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::guard::Guard;
use tests::listener::{Listener, UdpEcho};
use tests::netns::Netns;
use tests::probe::{self, Outcome};
use tests::topology::{Side, World};
use tests::{require, requires, wait};

const PORT: u16 = 11434;
const OTHER: u16 = 8080;
/// Repairs are owed to an event, not to the pass that comes every 30 s anyway.
const AT_ONCE: Duration = Duration::from_secs(15);

fn policy(attach: &str, ports: &[u16]) -> String {
    format!(
        "attach = \"{attach}\"\nseatbelt = false\n[[service]]\nname = \"ollama\"\nports = {ports:?}\n\
         protocols = [\"tcp\", \"udp\"]\n[interfaces]\ntrusted = [\"lo\", \"lan0\"]\n[metrics]\nlisten = \"\""
    )
}

/// The filters of one side of an interface, as tc prints them; the heads of priorities left out.
fn filters(ns: &Netns, interface: &str, direction: &str) -> Result<Vec<Value>> {
    let text = ns.run("tc", &["-json", "filter", "show", "dev", interface, direction])?;
    let all: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("reading {text}"))?;
    Ok(all.into_iter().filter(|filter| filter.get("options").is_some()).collect())
}

fn is_ours(filter: &Value) -> bool {
    filter["options"]["bpf_name"] == "ollama-guard"
}

/// Our filter: its priority, handle and program. There is exactly one.
fn ours(ns: &Netns, interface: &str) -> Result<(Value, Value, Value)> {
    let mut ours: Vec<Value> = filters(ns, interface, "ingress")?.into_iter().filter(is_ours).collect();
    anyhow::ensure!(ours.len() == 1, "not one filter of ours: {ours:?}");
    let ours = ours.remove(0);
    Ok((ours["pref"].clone(), ours["options"]["handle"].clone(), ours["options"]["prog"]["id"].clone()))
}

/// A clsact or an ingress qdisc, whoever made it.
fn has_qdisc(ns: &Netns, interface: &str) -> Result<bool> {
    let qdiscs = ns.run("tc", &["qdisc", "show", "dev", interface])?;
    Ok(qdiscs.contains("clsact") || qdiscs.contains("ingress"))
}

/// Sends datagrams to the guarded port at both addresses until told to stop; says how many left.
fn send_until(side: &Side, stop: &AtomicBool) -> Result<u64> {
    let targets = side.guard.both();
    side.ns.enter(|| {
        let sockets = [UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?];
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            for (socket, target) in sockets.iter().zip(targets) {
                // The echo answers a friend: errors of earlier datagrams are not this one's.
                sent += u64::from(socket.send_to(b"hello", (target, PORT)).is_ok());
            }
            // Often enough to meet every moment of a change; more would starve the guard on an emulated processor.
            thread::sleep(Duration::from_millis(3));
        }
        Ok(sent)
    })?
}

fn count(guard: &Guard<'_>, interface: &str, what: &str) -> Result<u64> {
    guard.interface(interface)?[what].as_u64().with_context(|| format!("{interface} has no {what}"))
}

#[test]
fn strangers_are_dropped_and_counted_and_friends_are_not() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (listener, echo) = (Listener::http(&world.guard, PORT)?, UdpEcho::start(&world.guard, PORT)?);
    let other = UdpEcho::start(&world.guard, OTHER)?;
    let mut guard = Guard::start(&world.guard, &policy("clsact", &[PORT]))?;

    for interface in ["inet0", "lan0"] {
        assert_eq!(guard.interface(interface)?["hook"], "clsact");
    }
    for address in internet.guard.both() {
        for _ in 0..3 {
            assert_eq!(probe::udp(&internet.ns, address, PORT)?, Outcome::Silent);
        }
        assert_eq!(probe::udp(&internet.ns, address, OTHER)?, Outcome::Open("hello".into()));
    }
    assert_eq!(count(&guard, "inet0", "dropped_packets")?, 6);
    for address in internet.guard.both() {
        assert_eq!(probe::http(&internet.ns, address, PORT)?, Outcome::Silent);
    }
    assert_eq!(listener.witness.seen(), []);
    assert_eq!(echo.witness.seen(), []);
    assert_eq!(other.witness.seen().len(), 2);

    for address in lan.guard.both() {
        assert!(probe::http(&lan.ns, address, PORT)?.is_open());
    }
    assert_eq!(count(&guard, "lan0", "dropped_packets")?, 0);

    // What the daemon leaves behind enforces and is told without it.
    guard.kill()?;
    let dropped = count(&guard, "inet0", "dropped_packets")?;
    assert_eq!(probe::udp(&internet.ns, internet.guard.v4, PORT)?, Outcome::Silent);
    assert_eq!(count(&guard, "inet0", "dropped_packets")?, dropped + 1);
    assert_eq!(guard.interface("inet0")?["hook"], "clsact");
    let before = ours(&world.guard, "inet0")?;
    guard.restart()?;
    assert_eq!(ours(&world.guard, "inet0")?, before, "a restart that changes nothing touches nothing");

    guard.down()?;
    assert!(!has_qdisc(&world.guard, "inet0")? && !has_qdisc(&world.guard, "lan0")?);
    assert!(probe::http(&internet.ns, internet.guard.v4, PORT)?.is_open());
    Ok(())
}

#[test]
fn a_reload_swaps_in_place_and_counts_every_packet_once() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let echo = UdpEcho::start(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &policy("clsact", &[PORT]))?;
    let stop = AtomicBool::new(false);
    let (stranger, friend) = thread::scope(|scope| {
        let senders = [&internet, &lan].map(|side| scope.spawn(|| send_until(side, &stop)));
        let reloaded = (|| {
            for ports in [&[PORT, OTHER][..], &[PORT], &[OTHER, PORT], &[PORT]] {
                let (priority, handle, program) = ours(&world.guard, "inet0")?;
                guard.reload(&policy("clsact", ports))?;
                wait::until("the new program", AT_ONCE, || {
                    ours(&world.guard, "inet0").is_ok_and(|(_, _, now)| now != program)
                })
                .with_context(|| format!("ports {ports:?}: {}", guard.log()))?;
                let now = ours(&world.guard, "inet0")?;
                assert_eq!((&now.0, &now.1), (&priority, &handle));
            }
            Ok::<_, anyhow::Error>(())
        })();
        stop.store(true, Ordering::Relaxed);
        let [stranger, friend] = senders.map(|sender| sender.join().expect("a sender"));
        reloaded.and(Ok((stranger?, friend?)))
    })?;
    assert!(stranger > 50 && friend > 50, "nothing was sent while it reloaded");
    let sources = echo.witness.sources();
    assert!(internet.own.both().iter().all(|stranger| !sources.contains(stranger)));
    assert_eq!(count(&guard, "inet0", "dropped_packets")?, stranger);
    assert_eq!(count(&guard, "lan0", "passed_packets")?, friend);
    Ok(())
}

#[test]
fn a_deleted_filter_is_back_at_once() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &policy("clsact", &[PORT]))?;
    world.guard.run("tc", &["filter", "del", "dev", "inet0", "ingress"])?;
    wait::until("the filter", AT_ONCE, || ours(&world.guard, "inet0").is_ok())?;
    assert_eq!(probe::udp(&internet.ns, internet.guard.v4, PORT)?, Outcome::Silent);
    guard.down()?;
    Ok(())
}

/// How a traffic shaper begins: what is there goes, its own qdisc comes. Without ours it would succeed, and so it does with
/// it: the guard takes another hook until there is a qdisc to move into.
#[test]
fn a_shaper_gets_the_place_of_the_qdisc_and_the_port_stays_closed() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let internet = world.internet()?;
    let echo = UdpEcho::start(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &policy("clsact", &[PORT]))?;
    let tc = |line: &str| world.guard.run("tc", &line.split(' ').collect::<Vec<_>>());
    let guarded_by = |what: &str, hooks: &[&str]| {
        guard.interface_when("inet0", what, |row| hooks.iter().any(|hook| row["hook"] == *hook))?;
        assert_eq!(guard.status()?["enforcing"], true);
        for address in internet.guard.both() {
            assert_eq!(probe::udp(&internet.ns, address, PORT)?, Outcome::Silent, "{what}");
        }
        anyhow::Ok(())
    };
    // TCX, or on kernels before 6.6 generic XDP.
    let other = ["tcx", "xdp-generic"];
    tc("qdisc del dev inet0 ingress")?;
    guarded_by("another hook", &other)?;
    assert!(guard.interface("inet0")?["hook_reason"].as_str().is_some_and(|why| why.contains("left free")));
    tc("qdisc add dev inet0 handle ffff: ingress")?;
    guarded_by("a filter in theirs", &["clsact"])?;
    tc("filter add dev inet0 parent ffff: protocol ip prio 50 u32 match u32 0 0 flowid :1")?;
    assert_eq!(ours(&world.guard, "inet0")?.0, 1);
    guarded_by("ours first", &["clsact"])?;

    // Once more, with both qdiscs: the filter goes with each, and moves into the next.
    for (delete, add) in [
        ("qdisc del dev inet0 ingress", "qdisc add dev inet0 clsact"),
        ("qdisc del dev inet0 clsact", "qdisc add dev inet0 ingress"),
    ] {
        tc(delete)?;
        guarded_by(delete, &other)?;
        tc(add)?;
        guarded_by(add, &["clsact"])?;
    }
    // In one go, as a script does it.
    for _ in 0..5 {
        tc("qdisc del dev inet0 ingress")?;
        tc("qdisc add dev inet0 ingress")?;
    }
    guarded_by("a script", &["clsact"])?;
    assert_eq!(echo.witness.seen(), []);

    guard.down()?;
    assert!(has_qdisc(&world.guard, "inet0")?, "it is theirs");
    Ok(())
}

#[test]
fn filters_of_others_stay_and_are_told_of_if_they_come_first() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let (_internet, _lan) = (world.internet()?, world.lan()?);
    let ns = &world.guard;
    let tc = |line: &str| ns.run("tc", &line.split(' ').collect::<Vec<_>>());
    tc("qdisc add dev inet0 clsact")?;
    // A program at the first priority; returning 0 it does not match.
    let program = ["bpf", "bytecode", "1,6 0 0 0,"];
    let place = ["filter", "add", "dev", "inet0", "ingress", "prio", "1", "handle", "1"];
    ns.run("tc", &[&place[..], &program[..]].concat())?;
    tc("filter add dev inet0 egress prio 3 protocol all u32 match u32 0 0")?;
    // The older qdisc in the same place, with a filter of another kind at the first priority.
    tc("qdisc add dev lan0 ingress")?;
    tc("filter add dev lan0 ingress prio 1 protocol ip u32 match u32 0 0xffffffff")?;

    let mut guard = Guard::start(ns, &policy("clsact", &[PORT]))?;
    let ingress = filters(ns, "inet0", "ingress")?;
    assert_eq!(ingress.iter().map(is_ours).collect::<Vec<_>>(), [true, false], "{ingress:?}");
    assert_eq!(ours(ns, "lan0")?.0, 2);
    let problems = guard.status()?["problems"].to_string();
    assert!(problems.contains("u32 filter") && !problems.contains("bpf filter"), "{problems}");

    guard.down()?;
    let left: Vec<_> = filters(ns, "inet0", "ingress")?;
    assert_eq!(left.iter().map(|filter| &filter["options"]["handle"]).collect::<Vec<_>>(), ["0x1"]);
    assert!(!filters(ns, "inet0", "egress")?.is_empty() && has_qdisc(ns, "inet0")?);
    assert!(filters(ns, "lan0", "ingress")?.iter().all(|filter| filter["kind"] == "u32"));

    // The qdisc is ours if we made it, until somebody else moves in.
    tc("qdisc del dev inet0 clsact")?;
    let mut guard = Guard::start(ns, &policy("clsact", &[PORT]))?;
    tc("filter add dev inet0 ingress prio 3 protocol all u32 match u32 0 0xffffffff")?;
    guard.down()?;
    assert!(has_qdisc(ns, "inet0")? && !filters(ns, "inet0", "ingress")?.iter().any(is_ours));
    Ok(())
}

struct EndsSender<'a>(&'a AtomicBool);

impl Drop for EndsSender<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_stranger_gets_through_while_the_hook_changes() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("tc"));
    let world = World::new()?;
    let internet = world.internet()?;
    let echo = UdpEcho::start(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &policy("clsact", &[PORT]))?;
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| send_until(&internet, &stop));
        let ends = EndsSender(&stop); // also if an assertion fails: the scope waits for the sender
        let changed = (|| {
            for (attach, hooks) in [
                ("tc", &["tcx", "clsact"][..]),
                ("clsact", &["clsact"]),
                ("xdp-generic", &["xdp-generic"]),
                ("clsact", &["clsact"]),
            ] {
                guard.reload(&policy(attach, &[PORT]))?;
                guard.status_when(attach, |status| {
                    let rows = status["interfaces"].as_array().into_iter().flatten();
                    rows.filter(|row| row["name"] == "inet0").any(|row| hooks.iter().any(|hook| row["hook"] == *hook))
                })?;
                // The reload may come between the two looks, or between them and the one before.
                wait::until("the qdisc to be there for a filter, and only then", Duration::from_secs(10), || {
                    let filtered = guard.interface("inet0").is_ok_and(|row| row["hook"] == "clsact");
                    has_qdisc(&world.guard, "inet0").is_ok_and(|has| has == filtered)
                })?;
            }
            Ok::<_, anyhow::Error>(())
        })();
        drop(ends);
        changed.and(sender.join().expect("the sender"))
    })?;
    assert_eq!(echo.witness.seen(), []);
    assert_eq!(count(&guard, "inet0", "dropped_packets")?, sent);
    guard.down()
}
