//! A configuration that is valid and opens the port is named by every face: `check`, `status`, its JSON, the metrics, the
//! log. The exit code of `status` stays that of enforcement.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::scrape::Scrape;
use tests::topology::World;
use tests::{require, requires, wait};

const SOON: Duration = Duration::from_secs(10);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 19_434);
const LAN: &str = "[interfaces]\ntrusted = [\"lo\", \"lan0\"]\n";
const DATAGRAMS: &str = "[[service]]\nname = \"ollama\"\nports = [11434]\nprotocols = [\"tcp\", \"udp\"]\n";

/// Every face says it, before and after a reload.
fn every_face_says(guard: &mut Guard<'_>, policy: &str, subject: &str, words: &str) -> Result<()> {
    let status = guard.status_when(words, |status| status["problems"].to_string().contains(words))?;
    let problems = status["problems"].as_array().context("problems")?;
    let found = problems.iter().find(|problem| problem["problem"].as_str().is_some_and(|said| said.contains(words)));
    let found = found.context("no such problem")?;
    ensure!(found["subject"] == subject && found["severity"] == "warning", "{found:#}");
    ensure!(found["next_step"].as_str().is_some_and(|next| !next.is_empty()), "{found:#}");
    let screen = guard.command(&["status"])?;
    let text = String::from_utf8_lossy(&screen.stdout).into_owned();
    ensure!(text.contains(&format!("WARNING {subject}: ")) && text.contains(words), "{text}");
    ensure!(screen.status.code() == Some(0), "it is enforced as it was asked for: {text}");
    let check = guard.command(&["check", "--strict"])?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    ensure!(text.contains(words) && check.status.code() == Some(2), "{:?} {text}", check.status);
    ensure!(guard.command(&["check"])?.status.code() == Some(0));
    wait::until("the log to say it", SOON, || guard.log().contains(words)).with_context(|| guard.log())?;
    let before = guard.log().matches(words).count();
    guard.reload(policy)?;
    wait::until("the log to say it again", SOON, || guard.log().matches(words).count() > before)?;
    let ns = guard.namespace();
    let scrape = Scrape::get(ns, METRICS)?;
    let warnings = scrape.count("ollama_guard_problems", &["severity=\"warning\""]);
    ensure!(warnings > 0 && scrape.sum("ollama_guard_enforcing", &[]) > 0.5, "{}", scrape.text);
    Ok(())
}

/// What the policy says by itself.
fn said_of(policy: &str, subject: &str, words: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let policy = Layers::Both.policy(policy);
    let mut guard = Guard::start(&world.guard, &policy)?;
    every_face_says(&mut guard, &policy, subject, words)
}

#[test]
fn everything_trusted() -> Result<()> {
    said_of("[interfaces]\ntrusted = [\"*\"]", "trusted", "trusts every interface")
}

#[test]
fn everyone_allowed() -> Result<()> {
    said_of("[[allow]]\nsource = \"0.0.0.0/0\"", "allow", "is everyone")
}

#[test]
fn everyone_allowed_in_two_halves() -> Result<()> {
    let halves = ["0.0.0.0/1", "128.0.0.0/1"].map(|half| format!("[[allow]]\nsource = \"{half}\"\n"));
    said_of(&halves.concat(), "allow", "most of the internet")
}

/// More entries than `status` is told of.
#[test]
fn everyone_allowed_in_a_long_list() -> Result<()> {
    let all = (0..2048_u32).map(|nth| format!("[[allow]]\nsource = \"{}/11\"\n", std::net::Ipv4Addr::from(nth << 21)));
    said_of(&all.collect::<String>(), "allow", "most of the internet")
}

#[test]
fn ollama_switched_off() -> Result<()> {
    let policy = "ollama = false\n[[service]]\nname = \"web\"\nports = [3000]";
    said_of(policy, "ollama", "ollama's port 11434 is not guarded: ollama = false")
}

/// A commercial VPN, whatever it is called: in the main table or another, in one route or two halves.
#[test]
fn a_trusted_interface_that_carries_the_default_route() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    let policy = Layers::Both.policy(LAN);
    let mut guard = Guard::start(&world.guard, &policy)?;
    let words = "carries the default route";
    let silent = || guard.status().is_ok_and(|status| !status["problems"].to_string().contains(words));
    ensure!(silent(), "{:#}", guard.status()?);
    let (v4, v6) = (lan.own.v4, lan.own.v6);
    for routes in [
        vec![format!("default via {v4}")],
        vec![format!("default via {v4} table 51820")],
        vec![format!("0.0.0.0/1 via {v4}"), format!("128.0.0.0/1 via {v4}")],
        vec![format!("default via {v6} table 52")],
    ] {
        for route in &routes {
            world.guard.ip(&format!("route add {route}"))?;
        }
        let told = guard.status()?["problems"].to_string();
        ensure!(told.contains("\"lan0\"") && told.contains(words), "{routes:?}: {told}");
        for route in &routes {
            world.guard.ip(&format!("route del {route}"))?;
        }
        ensure!(!guard.status()?["problems"].to_string().contains(words), "it is gone");
    }
    world.guard.ip(&format!("route add default via {v4}"))?;
    guard.reload(&policy)?;
    every_face_says(&mut guard, &policy, "lan0", words)
}

/// Who is on the network of a trusted interface may have a public address; who comes from beyond is a stranger.
#[test]
fn a_trusted_interface_that_passes_strangers() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    for key in ["all", "lan0"] {
        world.guard.sysctl(&format!("net.ipv4.conf.{key}.rp_filter"), "0")?;
    }
    world.guard.ip("address add 203.0.113.1/24 dev lan0")?;
    lan.ns.ip("address add 203.0.113.7/24 dev eth0\naddress add 198.51.100.7/32 dev eth0")?;
    let policy = Layers::Both.policy(&format!("{DATAGRAMS}{LAN}"));
    let mut guard = Guard::start(&world.guard, &policy)?;
    let send = |source: &str| -> Result<()> {
        lan.ns.enter(|| {
            let socket = UdpSocket::bind((source.parse::<IpAddr>().unwrap_or(METRICS.ip()), 0))?;
            socket.send_to(b"hello", (lan.guard.v4, 11434)).map(drop)
        })??;
        Ok(())
    };
    let words = "from public addresses reached a guarded port";
    send("203.0.113.7")?;
    let status = guard.status_when("the neighbour", |status| status["sources"].to_string().contains("203.0.113.7"))?;
    ensure!(!status["problems"].to_string().contains(words), "{status:#}");
    send("198.51.100.7")?;
    guard.status_when("the stranger", |status| status["problems"].to_string().contains("198.51.100.7"))?;
    // `check` runs as root here, and sees it too.
    guard.reload(&policy)?;
    every_face_says(&mut guard, &policy, "lan0", words)
}

/// Advice names what is there: the interface's own name, and the source with the lines that let it in.
#[test]
fn advice_for_a_private_source_and_another_name() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    world.guard.ip("link property add dev lan0 altname enp7s0")?;
    let other = "[[allow]]\nsource = \"192.168.77.99\"\ninterface = \"enp7s0\"\n";
    let guard = Guard::start(&world.guard, &Layers::Both.policy(&format!("{DATAGRAMS}{other}")))?;
    guard.status_when("the other name", |status| {
        status["problems"].to_string().contains("another name of lan0") && status["enforcing"] == true
    })?;
    lan.ns.enter(|| UdpSocket::bind((lan.own.v4, 0))?.send_to(b"hello", (lan.guard.v4, 11434)).map(drop))??;
    let source = lan.own.v4.to_string();
    guard.status_when("the source", |status| status["sources"].to_string().contains(&source))?;
    let screen = guard.command(&["status"])?;
    let text = String::from_utf8_lossy(&screen.stdout).into_owned();
    ensure!(text.contains(&format!("from the private address {source} on lan0 was dropped")), "{text}");
    let lines = format!("        [[allow]]\n        source = \"{source}\"\n        interface = \"lan0\"\n");
    ensure!(text.contains(&lines) && screen.status.code() == Some(0), "{text}");
    Ok(())
}
