//! A proxied port is closed for the addresses at which its proxy listens, before any translation. The same number elsewhere
//! is somebody else's.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::claims::{answers, answers_soon};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::pretend::{Pretender, docker_proxy};
use tests::probe::{self, Outcome};
use tests::process::Process;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

const PROXIED: u16 = 8080;

fn proxy(world: &World, listens: &str) -> Result<Process> {
    let arguments = docker_proxy(PROXIED);
    let arguments = arguments.each_ref().map(String::as_str);
    Pretender { name: "docker-proxy", listens, arguments: &arguments, ..Pretender::default() }.start(&world.guard)
}

fn is_proxied(status: &Value) -> bool {
    status["derived"][0]["port"] == PROXIED && status["derived"][0]["guarded"] == true
}

/// Another container's port of that number behind another of the host's; another machine's, behind this host; from a
/// container, another container's and another machine's.
fn what_only_has_the_number_passes(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("python3"));
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let _servers = [Listener::http(&container.ns, PROXIED)?, Listener::http(&lan.ns, PROXIED)?];
    world.guard.nft(&format!(
        "table inet others {{ chain in {{ type nat hook prerouting priority dstnat; iifname inet0 meta nfproto ipv4 \
         tcp dport 3000 dnat ip to {}:{PROXIED}; }}; }}",
        container.own.v4
    ))?;
    internet.ns.ip(&format!("route add {}/32 via {}", lan.own.v4, internet.guard.v4))?;
    internet
        .ns
        .ip(&format!("-6 route add {}/128 via {}", lan.own.v6, internet.guard.v6))
        .or_else(|_| internet.ns.ip(&format!("route add {}/128 via {}", lan.own.v6, internet.guard.v6)))?;
    let stranger = |address: IpAddr| (&internet.ns, address);
    let elsewhere = [
        stranger(lan.own.v4.into()),
        stranger(lan.own.v6.into()),
        (&container.ns, lan.own.v4.into()),
        (&container.ns, lan.own.v6.into()),
    ];
    answers(3000, &[stranger(internet.guard.v4.into())])?;
    answers(PROXIED, &elsewhere)?;

    let _proxy = proxy(&world, &format!("0.0.0.0|{PROXIED},::|{PROXIED}"))?;
    answers(PROXIED, &internet.guard.both().map(stranger))?;
    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    guard.status_when("the proxied port", is_proxied)?;
    for address in internet.guard.both() {
        ensure!(probe::tcp(&internet.ns, address, PROXIED)? == Outcome::Silent, "the proxy is open at {address}");
    }
    for address in container.guard.both() {
        ensure!(probe::tcp(&container.ns, address, PROXIED)? == Outcome::Silent, "to containers at {address}");
    }
    answers(3000, &[stranger(internet.guard.v4.into())])?;
    answers(PROXIED, &elsewhere)
}

/// A proxy at one address, and somebody else's service at another, on the same port.
fn another_address_passes(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("python3"));
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.ip("address add 203.0.113.2/24 dev inet0\naddress add 2001:db8:1::2/64 dev inet0 nodad")?;
    let (v4, v6) = (internet.guard.v4, internet.guard.v6);
    let listens = format!("203.0.113.2|{PROXIED},2001:db8:1::2|{PROXIED}");
    let _web = Pretender { name: "web", listens: &listens, ..Pretender::default() }.start(&world.guard)?;
    let others = ["203.0.113.2", "2001:db8:1::2"].map(|address| (&internet.ns, address.parse().expect("an address")));
    answers_soon(PROXIED, others[0])?;
    let _proxy = proxy(&world, &format!("{v4}|{PROXIED},{v6}|{PROXIED}"))?;
    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    let status = guard.status_when("the proxied port", is_proxied)?;
    ensure!(status["derived"][0]["addresses"] == serde_json::json!([v4, v6]), "{status:#}");
    for address in internet.guard.both() {
        ensure!(probe::tcp(&internet.ns, address, PROXIED)? == Outcome::Silent, "the proxy is open at {address}");
    }
    answers(PROXIED, &others)
}

for_each_arrangement!(what_only_has_the_number_passes, another_address_passes);
