//! A real Docker beside the guard: what it publishes is closed, by whichever way it publishes, and nothing of its own
//! is harmed.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::docker::{self, Docker};
use tests::guard::Guard;
use tests::listener::{GREETING, Listener};
use tests::netns::Netns;
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{require, requires, wait};

const PORT: u16 = 11434;
/// Docker publishes the container's 11434 here too.
const REMAPPED: u16 = 8080;
/// And its port 80, which nobody guards, here.
const OTHER: u16 = 9090;
/// `docker0`, as Docker numbers it by default.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// The LAN side is the one that may.
const POLICY: &str = "[interfaces]\ntrusted = [\"lo\", \"lan0\"]";
/// How many short-lived containers to run.
const RUNS: &str = "OLLAMA_GUARD_DOCKER_RUNS";

fn ask(from: &Netns, addresses: &[IpAddr], port: u16) -> Result<Vec<Outcome>> {
    addresses.iter().map(|address| probe::http(from, *address, port)).collect()
}

fn all_open(from: &Netns, addresses: &[IpAddr], port: u16) -> Result<()> {
    let greets = |outcome: &Outcome| matches!(outcome, Outcome::Open(answer) if answer.contains(GREETING));
    let outcomes = ask(from, addresses, port)?;
    ensure!(outcomes.iter().all(greets), "port {port} at {addresses:?}: {outcomes:?}");
    Ok(())
}

fn all_silent(from: &Netns, addresses: &[IpAddr], port: u16) -> Result<()> {
    let outcomes = ask(from, addresses, port)?;
    ensure!(outcomes.iter().all(|outcome| *outcome == Outcome::Silent), "port {port} at {addresses:?}: {outcomes:?}");
    Ok(())
}

/// Every rule of iptables, without times and counts.
fn rules(ns: &Netns) -> Result<String> {
    let text = ns.run("iptables-save", &[])? + &ns.run("ip6tables-save", &[])?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let without_counts = lines.map(|line| line.split(" [").next().unwrap_or(line));
    Ok(without_counts.collect::<Vec<_>>().join("\n"))
}

fn derived(status: &Value) -> &Value {
    &status["derived"]
}

fn published(options: &[&str]) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), docker::available());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let docker = Docker::start(&world.guard, options)?;
    docker.serve("ollama", &["-p", "11434:11434", "-p", "8080:11434", "-p", "9090:80"])?;
    docker.command(&["run", "-d", "--name", "other", "box", "sleep", "600"])?;
    let from = &internet.ns;
    let (strangers, friends) = (internet.guard.both(), lan.guard.both());
    // As `ufw deny 11434` writes it.
    let drop = ["-I", "INPUT", "-p", "tcp", "--dport", "11434", "-j", "DROP"];
    world.guard.run("iptables", &drop)?;
    all_open(from, &[internet.guard.v4.into()], PORT)
        .context("a drop in INPUT does nothing for what Docker publishes")?;
    for port in [PORT, REMAPPED, OTHER] {
        all_open(from, &strangers, port).context("unguarded")?;
    }
    let before = rules(&world.guard)?;

    let mut guard = Guard::start(&world.guard, POLICY)?;
    let status = guard.status_when("the derived port", |status| {
        status["enforcing"] == true && status["derived"][0]["container"] == "ollama"
    })?;
    let expected = json!({"protocol": "tcp", "port": REMAPPED, "service": "ollama", "guarded": true});
    for (key, value) in expected.as_object().context("an object")? {
        assert_eq!(&derived(&status)[0][key], value, "{status:#}");
    }
    for port in [PORT, REMAPPED] {
        all_silent(from, &strangers, port)?;
        all_open(&lan.ns, &friends, port).context("trusted")?;
    }
    all_open(from, &strangers, OTHER).context("a port of the container that is not guarded")?;
    all_open(&world.guard, &[Ipv4Addr::LOCALHOST.into()], REMAPPED).context("loopback")?;

    let inside = docker.get("other", &format!("http://{}:11434/", docker.address("ollama")?))?;
    assert!(inside.contains(GREETING), "container to container in one network: {inside}");
    let _remote = Listener::http(&internet.ns, PORT)?;
    let outward = docker.get("other", &format!("http://{}:11434/", internet.own.v4))?;
    assert!(outward.contains(GREETING), "a container's way to a remote Ollama: {outward}");

    docker.command(&["rm", "-f", "ollama"])?;
    guard.status_when("a derived port without a container", |status| derived(status)[0]["present"] == false)?;
    docker.serve("again", &["-p", "8080:11434"])?;
    let again = |row: &Value| row["container"] == "again" && row["present"] == true;
    guard.status_when("the derived port of the new container", |status| again(&derived(status)[0]))?;
    all_silent(from, &strangers, REMAPPED)?;
    docker.command(&["rm", "-f", "again"])?;
    // Somebody who publishes something else there is not kept waiting.
    docker.command(&["run", "-d", "--name", "other-web", "-p", "8080:80", "box", "httpd", "-f", "-p", "80"])?;
    guard.status_when("no derived port", |status| derived(status) == &json!([]))?;
    docker.command(&["rm", "-f", "other-web"])?;
    docker.serve("ollama", &["-p", "11434:11434", "-p", "8080:11434", "-p", "9090:80"])?;
    assert_eq!(rules(&world.guard)?, before, "Docker's rules while the guard runs");

    guard.stop()?;
    guard.down()?;
    assert_eq!(rules(&world.guard)?, before, "Docker's rules after down");
    assert!(!world.guard.run("nft", &["list", "tables"])?.contains("ollama_guard"));
    all_open(from, &strangers, REMAPPED).context("after down")
}

/// Docker's default: DNAT for IPv4, and docker-proxy where that does not reach, as for IPv6.
#[test]
fn published_with_the_userland_proxy() -> Result<()> {
    published(&[])
}

/// Rules of the kernel only, for both families.
#[test]
fn published_without_the_userland_proxy() -> Result<()> {
    let v6 = ["--ipv6", "--fixed-cidr-v6=fd17::/64", "--experimental", "--ip6tables"];
    let options = [&["--userland-proxy=false"][..], &v6].concat();
    published(&options)
}

/// Docker that keeps away from iptables: docker-proxy is all there is, for both families.
#[test]
fn published_without_iptables() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), docker::available());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let docker = Docker::start(&world.guard, &["--iptables=false"])?;
    docker.serve("ollama", &["-p", "11434:11434", "-p", "8080:11434", "-p", "9090:80"])?;
    let (strangers, friends) = (internet.guard.both(), lan.guard.both());
    for port in [PORT, REMAPPED, OTHER] {
        all_open(&internet.ns, &strangers, port).context("unguarded")?;
    }
    ensure!(rules(&world.guard)?.is_empty(), "{}", rules(&world.guard)?);

    let guard = Guard::start(&world.guard, POLICY)?;
    guard.status_when("the derived port", |status| derived(status)[0]["container"] == "ollama")?;
    for port in [PORT, REMAPPED] {
        all_silent(&internet.ns, &strangers, port)?;
        all_open(&lan.ns, &friends, port).context("trusted")?;
    }
    all_open(&internet.ns, &strangers, OTHER).context("a port of the container that is not guarded")
}

#[test]
fn container_access_decides_about_the_hosts_own_port() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), docker::available());
    let world = World::new()?;
    let docker = Docker::start(&world.guard, &[])?;
    docker.command(&["run", "-d", "--name", "webui", "box", "sleep", "600"])?;
    let _ollama = Listener::http(&world.guard, PORT)?;
    let url = format!("http://{BRIDGE}:{PORT}/");
    assert!(docker.get("webui", &url)?.contains(GREETING), "unguarded");

    let mut guard = Guard::start(&world.guard, "")?;
    assert!(docker.get("webui", &url).is_err(), "container_access is deny by default");
    // Frames inside the bridge meet nftables before traffic control, which leaves them to the bridge's program.
    let dropped = |guard: &Guard<'_>| anyhow::Ok(guard.interface("docker0")?["dropped_packets"].as_u64());
    let before = dropped(&guard)?;
    world.guard.sysctl("net.bridge.bridge-nf-call-iptables", "1")?;
    assert!(docker.get("webui", &url).is_err(), "nor with br_netfilter");
    let status = guard.status()?;
    assert!(before > Some(0) && dropped(&guard)? > before, "{status:#}");
    assert_eq!(status["problems"], json!([]), "{status:#}");
    guard.reload("[interfaces]\ncontainer_access = \"allow\"")?;
    wait::until("the container to be let in", Duration::from_secs(30), || {
        docker.get("webui", &url).is_ok_and(|answer| answer.contains(GREETING))
    })
}

/// Containers come and go: each one's network works, and the device that moved into it carries nothing of ours.
#[test]
fn short_lived_containers_are_not_touched() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("bpftool"), docker::available());
    let runs: u32 = env::var(RUNS).ok().and_then(|runs| runs.parse().ok()).unwrap_or(10);
    let world = World::new()?;
    let internet = world.internet()?;
    let docker = Docker::start(&world.guard, &[])?;
    let _other = Listener::http(&world.guard, OTHER)?;
    let _remote = Listener::http(&internet.ns, PORT)?;
    let guard = Guard::start(&world.guard, "")?;
    let urls = [format!("http://{BRIDGE}:{OTHER}/"), format!("http://{}:{PORT}/", internet.own.v4)];
    let script = urls.map(|url| format!("timeout 10 wget -q -O - {url}")).join(" && ");
    for nth in 0..runs {
        let answer =
            docker.command(&["run", "--rm", "box", "sh", "-c", &script]).with_context(|| format!("run {nth}"))?;
        assert_eq!(answer.matches(GREETING).count(), 2, "run {nth}: {answer}");
        if nth % 10 == 0 {
            docker.command(&["run", "-d", "--rm", "--name", "kept", "box", "sleep", "60"])?;
            let pid = docker.command(&["inspect", "--format", "{{.State.Pid}}", "kept"])?;
            let namespace = format!("--net=/proc/{}/ns/net", pid.trim());
            let attached =
                tests::netns::run(std::process::Command::new("nsenter").args([&namespace, "bpftool", "net"]))?;
            assert!(!attached.contains("eth0"), "run {nth}: {attached}");
            docker.command(&["rm", "-f", "kept"])?;
        }
    }
    let interfaces = |status: &Value| status["interfaces"].as_array().map_or(0, Vec::len);
    let status = guard.status_when("the containers' interfaces to be gone", |status| {
        // lo, inet0, docker0, and the names of absent VPNs.
        status["enforcing"] == true && interfaces(status) == 5
    })?;
    assert_eq!(status["problems"], json!([]), "{status:#}");
    Ok(())
}
