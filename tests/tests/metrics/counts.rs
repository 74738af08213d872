//! What the sources counted, what `/metrics` says, and what `status --json` says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::netns::Netns;
use tests::scrape::{self, Scrape};
use tests::{require, requires, wait};

use super::traffic::{Sender, Sides};
use super::{METRICS, POLICY};

#[test]
fn the_scrape_is_what_was_sent_and_what_status_says() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let sides = Sides::new()?;
    let guard = Guard::start(&sides.world.guard, POLICY)?;
    let mut senders = sides.senders()?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&sides.world.guard, METRICS).is_ok())?;
    let mut earlier = None;
    for round in 1..=3 {
        for (nth, sender) in (1..).zip(&mut senders) {
            sender.send(round * nth)?;
        }
        let scrape = settled(&sides.world.guard, &senders)?;
        compare_with_senders(&scrape, &senders)?;
        compare_with_status(&scrape, &guard.status()?)?;
        let sum = scrape.count("ollama_guard_source_packets_total", &[]);
        assert!(earlier.replace(sum) < Some(sum));
    }
    assert_eq!(scrape::page(&sides.world.guard, METRICS, "/-/ready")?.0, 200);
    let (_, landing) = scrape::page(&sides.world.guard, METRICS, "/")?;
    assert!(landing.contains("inet0") && landing.contains("href=\"/metrics\""), "{landing}");

    // A new daemon adopts what is in the kernel, and its series go on.
    let mut guard = guard;
    let before = Scrape::get(&sides.world.guard, METRICS)?;
    guard.restart()?;
    wait::until("metrics again", Duration::from_secs(5), || Scrape::get(&sides.world.guard, METRICS).is_ok())?;
    let after = Scrape::get(&sides.world.guard, METRICS)?;
    for metric in ["ollama_guard_source_packets_total", "ollama_guard_packets_total", "ollama_guard_drops_total"] {
        assert_eq!(of(&before, metric), of(&after, metric));
    }
    Ok(())
}

/// The scrape once the last datagram has been judged: sending does not wait for that.
fn settled(ns: &Netns, senders: &[Sender<'_>]) -> Result<Scrape> {
    let sent: u64 = senders.iter().map(|sender| sender.sent).sum();
    wait::value(format!("{sent} packets"), Duration::from_secs(5), || {
        let scrape = Scrape::get(ns, METRICS).ok()?;
        (scrape.count("ollama_guard_packets_total", &[]) >= sent).then_some(scrape)
    })
}

fn compare_with_senders(scrape: &Scrape, senders: &[Sender<'_>]) -> Result<()> {
    for sender in senders {
        let labels = [
            format!("source=\"{}\"", sender.source),
            format!("device=\"{}\"", sender.interface()),
            "service=\"ollama\"".to_owned(),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let dropped = if sender.is_trusted() { 0 } else { sender.sent };
        let is = [
            scrape.count("ollama_guard_source_packets_total", &labels),
            scrape.count("ollama_guard_source_dropped_packets_total", &labels),
        ];
        ensure!(is == [sender.sent, dropped], "{labels:?} sent {}: {is:?}", sender.sent);
    }
    let other = scrape.count("ollama_guard_source_packets_total", &["source=\"other\""]);
    ensure!(other == 0, "{other} packets are nobody's\n{}", scrape.text);
    Ok(())
}

fn compare_with_status(scrape: &Scrape, status: &Value) -> Result<()> {
    for interface in status["interfaces"].as_array().context("interfaces")? {
        let device = format!("device=\"{}\"", interface["name"].as_str().context("name")?);
        for (verdict, packets, bytes) in
            [("passed", "passed_packets", "passed_bytes"), ("dropped", "dropped_packets", "dropped_bytes")]
        {
            let labels = [device.as_str(), &format!("verdict=\"{verdict}\"")];
            ensure!(
                Some(scrape.sum("ollama_guard_packets_total", &labels)) == interface[packets].as_f64(),
                "{labels:?}"
            );
            ensure!(Some(scrape.sum("ollama_guard_bytes_total", &labels)) == interface[bytes].as_f64(), "{labels:?}");
        }
        ensure!(Some(scrape.sum("ollama_guard_drops_total", &[&device])) == interface["dropped_packets"].as_f64());
    }
    for source in status["sources"].as_array().context("sources")? {
        let label = format!("source=\"{}\"", source["source"].as_str().context("source")?);
        ensure!(
            Some(scrape.sum("ollama_guard_source_packets_total", &[&label])) == source["packets"].as_f64(),
            "{label}"
        );
    }
    ensure!(Some(scrape.sum("ollama_guard_sources_tracked", &[])) == status["sources_tracked"].as_f64());
    ensure!(Some(scrape.sum("ollama_guard_unattributed_packets", &[])) == status["unattributed_packets"].as_f64());
    ensure!(status["enforcing"] == Value::Bool(scrape.sum("ollama_guard_enforcing", &[]) > 0.5));
    let seatbelt = scrape.sum("ollama_guard_seatbelt_dropped_packets_total", &[]);
    ensure!(Some(seatbelt) == status["seatbelt"]["dropped_packets"].as_f64());
    Ok(())
}

/// The lines of a metric.
fn of<'a>(scrape: &'a Scrape, metric: &str) -> Vec<&'a str> {
    scrape.text.lines().filter(|line| line.starts_with(metric)).collect()
}
