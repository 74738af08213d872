//! With `br_netfilter` (Docker before 28, Proxmox, Kubernetes) nftables meets what arrives on a bridge before the bridge's eBPF
//! program does. Each refused packet is counted once all the same, by the program, with its source.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::bpf;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::{Side, World};
use tests::{require, requires};

use super::PORT;

/// One datagram is one packet, with no retransmission and no handshake.
const UDP: &str = "[[service]]\nname = \"ollama\"\nports = [11434]\nprotocols = [\"tcp\", \"udp\"]\n";

fn send(from: &Netns, to: IpAddr, count: usize) -> Result<()> {
    from.enter(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        (0..count).try_for_each(|_| socket.send_to(b"x", SocketAddr::new(to, PORT)).map(drop))
    })??;
    Ok(())
}

/// The internet's interface in a bridge, as on a hypervisor.
fn bridged(world: &World, internet: &Side) -> Result<()> {
    let guard = internet.guard;
    world.guard.ip(&format!(
        "link add vmbr0 type bridge\n\
         address flush dev inet0\n\
         link set inet0 master vmbr0\n\
         link set vmbr0 up\n\
         address add {}/24 dev vmbr0\n\
         address add {}/64 dev vmbr0 nodad",
        guard.v4, guard.v6
    ))
}

fn netfilter(world: &World, on: &str) -> Result<()> {
    let keys = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"];
    keys.into_iter().try_for_each(|key| world.guard.sysctl(&format!("net.bridge.{key}"), on))
}

fn dropped_by_source(guard: &Guard<'_>, source: IpAddr, interface: &str) -> Result<u64> {
    let output = guard.command(&["sources", "--json"])?;
    let sources: Value = serde_json::from_slice(&output.stdout)?;
    let rows = sources["sources"].as_array().context("no sources")?;
    let is_it = |row: &&Value| row["source"] == json!(source) && row["interface"] == interface;
    Ok(rows.iter().find(is_it).and_then(|row| row["dropped_packets"].as_u64()).unwrap_or(0))
}

#[test]
fn what_br_netfilter_shows_first_is_told_once_with_its_source() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    for on in ["0", "1"] {
        let world = World::new()?;
        let internet = world.internet()?;
        bridged(&world, &internet)?;
        netfilter(&world, on)?;
        let guard = Guard::start(&world.guard, UDP)?;
        let row = |guard: &Guard<'_>| anyhow::Ok(guard.interface("vmbr0")?["dropped_packets"].as_u64().unwrap_or(0));
        // Every kernel counts neighbour discovery its own way; to the guarded port nobody sends but this test.
        ensure!(row(&guard)? == 0, "before");
        for (to, source) in internet.guard.both().into_iter().zip(internet.own.both()) {
            send(&internet.ns, to, 7)?;
            guard.status_when("seven more to be counted", |_| {
                dropped_by_source(&guard, source, "vmbr0").is_ok_and(|count| count >= 7)
            })?;
            ensure!(dropped_by_source(&guard, source, "vmbr0")? == 7, "br_netfilter {on}: {source}");
        }
        let status = guard.status()?;
        ensure!(row(&guard)? == 14, "br_netfilter {on}: {status:#}");
        ensure!(status["seatbelt"]["dropped_packets"] == 0, "br_netfilter {on}: told twice: {status:#}");
        assert_eq!(status["problems"], json!([]), "br_netfilter {on}");
    }
    Ok(())
}

/// The hint about `container_access` comes from what the container's bridge counted.
#[test]
fn a_container_that_is_refused_gets_its_hint_with_br_netfilter_too() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let _internet = world.internet()?;
    let container = world.container()?;
    netfilter(&world, "1")?;
    let guard = Guard::start(&world.guard, UDP)?;
    guard.attached_as("docker0", "container")?;
    send(&container.ns, container.guard.v4.into(), 3)?;
    guard.interface_when("docker0", "counted", |row| row["dropped_packets"] == 3)?;
    let status = guard.command(&["status"])?;
    let said = String::from_utf8_lossy(&status.stdout);
    ensure!(said.contains("container_access"), "{said}");
    assert_eq!(guard.status()?["problems"], json!([]));
    Ok(())
}

/// A guarded port that somebody translates to another one: `-p 11434:80`, a redirect. Nobody gets there through it, and it
/// is told.
#[test]
fn a_translation_away_from_the_port_opens_nothing_and_hides_nothing() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    world.guard.forward()?;
    bridged(&world, &internet)?;
    netfilter(&world, "1")?;
    let behind = Listener::http(&container.ns, 80)?;
    let here = Listener::http(&world.guard, 3000)?;
    let [v4, v6] = container.own.both();
    for (rules, listener) in [
        (format!("meta nfproto ipv4 dnat ip to {v4}:80; meta nfproto ipv6 dnat ip6 to [{v6}]:80"), &behind),
        ("redirect to :3000".to_owned(), &here),
    ] {
        let rules: Vec<_> = rules.split("; ").map(|rule| format!("iifname vmbr0 tcp dport 11434 {rule}\n")).collect();
        let rules = rules.concat();
        let rules =
            format!("table inet other {{ chain nat {{ type nat hook prerouting priority dstnat;\n{rules}}}\n}}");
        world.guard.nft(&rules)?;
        answers(PORT, &attempts([&internet])).context("unguarded")?;
        for policy in [UDP.to_owned(), Layers::Seatbelt.policy(UDP), Layers::Tc.policy(UDP)] {
            let alone = policy.contains("seatbelt = false");
            let mut guard = Guard::start(&world.guard, &policy)?;
            if alone {
                answers(PORT, &attempts([&internet])).context("the eBPF programs see it translated")?;
            } else {
                silent(listener, PORT, &attempts([&internet])).with_context(|| policy.clone())?;
            }
            guard.down()?;
        }
        let mut guard = Guard::start(&world.guard, UDP)?;
        silent(listener, PORT, &attempts([&internet]))?;
        let source = internet.own.v4.into();
        guard.status_when("it to be told", |_| {
            dropped_by_source(&guard, source, "vmbr0").is_ok_and(|count| count > 0)
        })?;
        guard.down()?;
        world.guard.nft("delete table inet other")?;
    }
    Ok(())
}

/// Whoever takes the program away finds the port closed by nftables, before and after the guard has noticed.
#[test]
fn without_its_program_the_bridge_is_nftables_again() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let internet = world.internet()?;
    bridged(&world, &internet)?;
    netfilter(&world, "1")?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, UDP)?;
    let judged = |world: &World| world.guard.run("nft", &["list", "set", "inet", "ollama_guard", "judged_bridges"]);
    ensure!(judged(&world)?.contains("vmbr0"), "{}", judged(&world)?);
    guard.kill()?;
    let index = guard.interface("vmbr0")?["index"].as_u64().context("no index")?;
    let pin: PathBuf = super::hooks::link(guard.pins(), index)?;
    if bpf::detach(&pin).is_err() {
        return Ok(()); // Kernels without TCX: a filter, which the suite `clsact` takes away.
    }
    silent(&listener, PORT, &attempts([&internet])).context("the program is gone")?;
    guard.run()?;
    guard.enforces()?;
    silent(&listener, PORT, &attempts([&internet]))?;
    guard.stop()?;
    guard.configure(&Layers::Seatbelt.policy(UDP))?;
    guard.run()?;
    guard.enforces()?;
    ensure!(!judged(&world)?.contains("vmbr0"), "{}", judged(&world)?);
    silent(&listener, PORT, &attempts([&internet]))
}
