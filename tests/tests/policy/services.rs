//! What is guarded: several services in both protocols, and `mode = "observe"`.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tests::claims::{answers, answers_soon, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;

for_each_arrangement!(
    ollama_stays_guarded_beside_another_service,
    several_services_in_both_protocols,
    observe_counts_and_drops_nothing
);

/// A `[[service]]` for another program does not open Ollama's port; only `ollama = false` does, and is told every time.
fn ollama_stays_guarded_beside_another_service(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (ollama, webui) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, 3000)?);
    let service = "[[service]]\nname = \"open-webui\"\nports = [3000]";
    let mut guard = Guard::start(&world.guard, &layers.policy(service))?;
    for (listener, port) in [(&ollama, PORT), (&webui, 3000)] {
        silent(listener, port, &attempts([&internet]))?;
    }
    guard.reload(&layers.policy(&format!("ollama = false\n{service}")))?;
    let said = "ollama's port 11434 is not guarded: ollama = false";
    guard.status_when("it is said", |status| status["problems"].to_string().contains(said))?;
    guard.process()?.logged(said, Duration::from_secs(10))?;
    answers_soon(PORT, (&internet.ns, internet.guard.v4.into()))?;
    silent(&webui, 3000, &attempts([&internet]))
}

fn several_services_in_both_protocols(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let tcp = [PORT, 8080, 3000, 9000].map(|port| Listener::http(&world.guard, port));
    let [ollama, llama, webui, _unguarded] = tcp;
    let (ollama, llama, webui) = (ollama?, llama?, webui?);
    let udp = [UdpEcho::start(&world.guard, PORT)?, UdpEcho::start(&world.guard, 8080)?];
    let policy = r#"
        [[service]]
        name = "ollama"
        ports = [11434]
        [[service]]
        name = "llama.cpp"
        ports = [8080, 3000]
        protocols = ["tcp", "udp"]
    "#;
    let guard = Guard::start(&world.guard, &layers.policy(policy))?;
    for (listener, port) in [(&ollama, PORT), (&llama, 8080), (&webui, 3000)] {
        silent(listener, port, &attempts([&internet]))?;
    }
    answers(9000, &attempts([&internet]))?;
    for address in internet.guard.both() {
        assert_eq!(probe::udp(&internet.ns, address, PORT)?, Outcome::Open("hello".into()));
        assert_eq!(probe::udp(&internet.ns, address, 8080)?, Outcome::Silent);
    }
    assert_eq!(udp[1].witness.seen(), []);
    if !layers.counts() {
        return Ok(());
    }
    let services: Vec<_> = guard.interface("inet0")?["counters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|counter| (counter["service"].clone(), counter["verdict"].clone()))
        .collect();
    assert_eq!(services, [(json!("ollama"), json!("dropped")), (json!("llama.cpp"), json!("dropped"))]);
    Ok(())
}

fn observe_counts_and_drops_nothing(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let _listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::prepare(&world.guard, &layers.policy("mode = \"observe\""))?;
    guard.run()?;
    guard.status_when("the guard to observe", |status| status["mode"] == "observe")?;

    answers(PORT, &attempts([&internet, &container]))?;
    let status = guard.status()?;
    assert_eq!(status["enforcing"], json!(false));
    for name in ["inet0", "docker0"].into_iter().filter(|_| layers.counts()) {
        let row = guard.interface(name)?;
        assert_eq!(row["dropped_packets"], json!(0), "{row:#}");
        assert_eq!(row["would_drop_packets"], row["would_drops"]["untrusted"], "{row:#}");
        assert!(row["would_drop_packets"].as_u64() > Some(4), "{row:#}");
    }
    let screen = guard.command(&["status"])?;
    assert_eq!(screen.status.code(), Some(3));
    let screen = String::from_utf8_lossy(&screen.stdout);
    let is_told = |line: &str| line.ends_with("OPEN: observe mode drops nothing");
    assert!(screen.lines().next().is_some_and(is_told) && screen.contains("OBSERVING"), "{screen}");

    if layers.counts() {
        let table = String::from_utf8_lossy(&guard.command(&["sources"])?.stdout).into_owned();
        let refused = |line: &&str| line.starts_with(&internet.own.v4.to_string());
        let row = table.lines().find(refused).unwrap_or_default().split_whitespace().nth(4).unwrap_or_default();
        assert!(table.contains("WOULD DROP") && row.parse::<u64>().is_ok_and(|would| would > 0), "{table}");
    }

    guard.reload(&layers.policy(""))?;
    guard.enforces()?;
    Ok(())
}
