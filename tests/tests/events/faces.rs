//! The log, `events --json`, `status --json`, `/metrics` and the sender's own count say the same.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::scrape::Scrape;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{POLICY, Reader, SOON, send};

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19434);

#[test]
fn every_face_says_what_was_sent() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let guard = Guard::start(&world.guard, POLICY)?;
    let reader = Reader::start(&world.guard, &guard, &["--json"])?;
    let (mut sent, sizes) = ([0_u64; 2], [1_u64, 500, 1, 3]);
    for size in sizes {
        for (sum, (from, to)) in sent.iter_mut().zip(internet.own.both().into_iter().zip(internet.guard.both())) {
            send(&internet.ns, from, to, size)?;
            *sum += size;
        }
        // A friend's packets are no events.
        send(&lan.ns, lan.own.v4.into(), lan.guard.v4.into(), size)?;
        let all: u64 = sent.iter().sum();
        // What a sender sent last is told once it is silent.
        wait::until(format!("events of {all} packets"), SOON, || reader.packets() >= all)
            .with_context(|| reader.0.log())?;
    }

    let documents = reader.documents();
    for (source, sent) in internet.own.both().into_iter().zip(sent) {
        let of_source: Vec<&Value> = documents.iter().filter(|line| line["source"] == source.to_string()).collect();
        let count: u64 = of_source.iter().filter_map(|line| line["count"].as_u64()).sum();
        ensure!(count == sent, "{source} sent {sent}, events tell of {count}: {documents:#?}");
        ensure!(of_source[0]["count"] == 1, "the first is told at once: {documents:#?}");
        let times: Vec<f64> = of_source.iter().filter_map(|line| line["time"].as_f64()).collect();
        ensure!(of_source.len() <= 2 * sizes.len(), "{documents:#?}");
        ensure!(times.is_sorted(), "{times:?}");
        for line in &of_source {
            ensure!(line["event"] == "drop" && line["verdict"] == "dropped" && line["reason"] == "untrusted", "{line}");
            ensure!(line["port"] == 11434 && line["protocol"] == "udp" && line["service"] == "ollama", "{line}");
            ensure!(line["interface"] == "inet0", "{line}");
            let to = if source.is_ipv4() { internet.guard.v4.to_string() } else { internet.guard.v6.to_string() };
            ensure!(line["destination"] == to, "{line}");
        }
    }

    let status = guard.status()?;
    let scrape = Scrape::get(&world.guard, METRICS)?;
    for (source, sent) in internet.own.both().into_iter().zip(sent) {
        let row = status["sources"].as_array().into_iter().flatten().find(|row| row["source"] == source.to_string());
        ensure!(row.context("no such source")?["dropped_packets"] == sent, "{status:#}");
        let label = format!("source=\"{source}\"");
        ensure!(scrape.count("ollama_guard_source_dropped_packets_total", &[&label]) == sent, "{}", scrape.text);
    }
    let all: u64 = sent.iter().sum();
    ensure!(scrape.count("ollama_guard_drops_total", &["device=\"inet0\""]) == all, "{}", scrape.text);
    let inet0 = guard.interface("inet0")?;
    ensure!(inet0["dropped_packets"] == all && inet0["drops"]["untrusted"] == all, "{inet0:#}");
    ensure!(status["events_lost"] == 0 && scrape.count("ollama_guard_events_lost_total", &[]) == 0, "{status:#}");

    // The log has the same lines, with the same fields.
    let log = guard.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" dropped ")).collect();
    ensure!(lines.len() == documents.len(), "{log}\n{documents:#?}");
    let logged: u64 = lines.iter().filter_map(|line| line.rsplit_once("COUNT=")?.1.trim().parse::<u64>().ok()).sum();
    ensure!(logged == all, "{log}");
    ensure!(
        lines[0].contains("dropped 203.0.113.9 → 203.0.113.1:11434/udp on inet0 (untrusted)")
            && lines[0]
                .contains("SRC=203.0.113.9 DST=203.0.113.1 DPT=11434 PROTO=UDP IN=inet0 REASON=untrusted COUNT=1"),
        "{log}"
    );
    Ok(())
}

#[test]
fn observe_mode_tells_what_it_would_drop() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let mut guard = Guard::prepare(&world.guard, &format!("mode = \"observe\"\n{POLICY}"))?;
    guard.run()?;
    wait::until("the daemon to observe", SOON, || guard.log().contains("OBSERVING"))?;
    let reader = Reader::start(&world.guard, &guard, &[])?;
    send(&internet.ns, internet.own.v6.into(), internet.guard.v6.into(), 1)?;
    wait::until("the line", SOON, || reader.0.log().contains(" on "))?;
    let line = reader.0.log();
    ensure!(line.contains("would drop 2001:db8:1::9 → [2001:db8:1::1]:11434/udp on inet0 (untrusted)"), "{line}");
    Ok(())
}
