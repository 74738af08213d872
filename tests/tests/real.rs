//! The promise with the real parts: a stranger on the internet hears nothing from Ollama, a laptop on the tailnet does
//! not notice the guard.

use std::net::IpAddr;

use anyhow::Result;
use tests::builds::Builds;
use tests::guard::Guard;
use tests::probe::{self, Outcome};
use tests::real::{MODEL, Node, PORT, RealWorld};
use tests::{real, require, requires};

/// The configuration of somebody who wrote none.
const DEFAULT: &str = "";

/// Without a guard everybody reaches Ollama: what is silent later, is so because of the guard.
fn falls_to_strangers(real: &RealWorld) -> Result<()> {
    for address in real.internet.guard.both() {
        let outcome = probe::http(&real.internet.ns, address, PORT)?;
        assert!(matches!(&outcome, Outcome::Open(answer) if answer.contains("Ollama is running")), "{outcome:?}");
        assert_eq!(real.ollama.list(&real.internet.ns, address)?, [format!("{MODEL}:latest")]);
    }
    Ok(())
}

/// Strangers hear nothing: no reset, no unreachable, and nmap says filtered.
fn is_silent_to_strangers(real: &RealWorld) -> Result<()> {
    for side in [&real.internet, &real.laptop] {
        for address in side.guard.both() {
            assert_eq!(probe::tcp(&side.ns, address, PORT)?, Outcome::Silent, "{address}");
        }
    }
    for address in real.internet.guard.both() {
        assert_eq!(nmap(real, address)?, "filtered", "{address}");
    }
    Ok(())
}

/// The state in which nmap finds the port, from the internet.
fn nmap(real: &RealWorld, address: IpAddr) -> Result<String> {
    let (port, target) = (PORT.to_string(), address.to_string());
    let mut arguments = vec!["-Pn", "-n", "-sS", "--reason", "-p", &port];
    arguments.extend(address.is_ipv6().then_some("-6"));
    arguments.push(&target);
    let printed = real.internet.ns.run("nmap", &arguments)?;
    let row = printed.lines().find(|line| line.starts_with(&format!("{PORT}/tcp")));
    Ok(row.and_then(|row| row.split_whitespace().nth(1)).unwrap_or(&printed).to_owned())
}

/// The laptop lists the models and streams a generation over the tailnet, by both of the host's addresses there.
fn serves_the_tailnet(real: &RealWorld, host: &Node) -> Result<()> {
    for address in host.addresses.both() {
        assert_eq!(real.ollama.list(&real.laptop.ns, address)?, [format!("{MODEL}:latest")]);
        let tokens = real.ollama.stream(&real.laptop.ns, address)?.finish()?;
        assert!(tokens > 1, "{tokens} tokens by {address}: not a stream");
    }
    Ok(())
}

#[test]
fn an_unguarded_ollama_answers_strangers_and_the_tailnet() -> Result<()> {
    require!(real::requirements(), requires::tool("nmap"));
    let real = RealWorld::new()?;
    let host = real.join()?;
    falls_to_strangers(&real)?;
    serves_the_tailnet(&real, &host)?;
    for address in real.internet.guard.both() {
        assert_eq!(nmap(&real, address)?, "open", "{address}");
    }
    Ok(())
}

#[test]
fn a_guarded_ollama_answers_the_tailnet_alone() -> Result<()> {
    require!(real::requirements(), requires::guard(), requires::bpffs(), requires::tool("nmap"));
    let real = RealWorld::new()?;
    let host = real.join()?;
    falls_to_strangers(&real)?;

    let mut guard = Guard::start(&real.world.guard, DEFAULT)?;
    is_silent_to_strangers(&real)?;
    serves_the_tailnet(&real, &host)?;

    guard.down()?;
    falls_to_strangers(&real)
}

#[test]
fn a_tailnet_that_appears_after_the_guard_is_served() -> Result<()> {
    require!(real::requirements(), requires::guard(), requires::bpffs(), requires::tool("nmap"));
    let real = RealWorld::new()?;
    falls_to_strangers(&real)?;
    let guard = Guard::start(&real.world.guard, DEFAULT)?;
    is_silent_to_strangers(&real)?;

    // Twice: the second daemon's interface has the first one's name and another index.
    for _ in 0..2 {
        let host = real.join()?;
        guard.status_when("tailscale0 to be trusted", |status| {
            status["interfaces"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| row["name"] == "tailscale0" && row["class"] == "trusted"))
        })?;
        serves_the_tailnet(&real, &host)?;
        is_silent_to_strangers(&real)?;
    }
    Ok(())
}

#[test]
fn a_stream_over_the_tailnet_survives_whatever_happens_to_the_guard() -> Result<()> {
    require!(real::requirements(), requires::guard(), requires::bpffs(), requires::tool("nmap"));
    let real = RealWorld::new()?;
    let host = real.join()?;
    let mut stream = real.ollama.stream(&real.laptop.ns, host.addresses.v4.into())?;
    stream.flows()?;

    let mut guard = Guard::start(&real.world.guard, DEFAULT)?;
    stream.flows()?;
    guard.reload("mode = \"observe\"")?;
    guard.status_when("observe mode", |status| status["mode"] == "observe")?;
    stream.flows()?;
    guard.reload(DEFAULT)?;
    guard.status_when("enforce mode", |status| status["mode"] == "enforce")?;
    stream.flows()?;
    guard.kill()?;
    stream.flows()?;
    is_silent_to_strangers(&real)?;
    guard.restart()?;
    stream.flows()?;

    // Another build takes over. Its restart stops the old one first.
    let builds = Builds::new()?;
    guard.install(builds.build(0)?);
    guard.restart()?;
    stream.flows()?;
    is_silent_to_strangers(&real)?;

    // With the guard's rules go Tailscale's own.
    real.world.guard.nft("flush ruleset")?;
    stream.flows()?;
    guard.kill()?;
    real.world.guard.nft("flush ruleset")?;
    stream.flows()?;
    is_silent_to_strangers(&real)?;
    guard.restart()?;
    is_silent_to_strangers(&real)?;

    assert!(stream.finish()? > 1);
    Ok(())
}
