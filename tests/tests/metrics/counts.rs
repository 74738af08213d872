//! What the senders counted, what `/metrics` says, what `status --json` says, and what Prometheus makes of it.

use std::fs;
use std::io::Write;
use std::process::Stdio;
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
        let sum = scrape.sum("ollama_guard_source_packets_total", &[]);
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

#[test]
fn promtool_finds_nothing_to_say() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("promtool"));
    let sides = Sides::new()?;
    let guard = Guard::start(&sides.world.guard, POLICY)?;
    sides.senders()?.iter_mut().try_for_each(|sender| sender.send(1))?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&sides.world.guard, METRICS).is_ok())?;
    lint(&Scrape::get(&sides.world.guard, METRICS)?.text)?;

    let folder = guard.config();
    let file = folder.with_file_name("ollama_guard.prom");
    let output = guard.command(&["metrics", "--textfile", file.to_str().context("path")?])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&file)?;
    lint(&text)?;
    let textfile = Scrape::parse(text)?;
    assert!(textfile.sum("ollama_guard_packets_total", &[]) >= 10.0);
    assert_eq!(textfile.sum("ollama_guard_enforcing", &[]), 1.0);
    Ok(())
}

#[test]
fn prometheus_stores_what_was_sent() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("prometheus"));
    let sides = Sides::new()?;
    let guard = Guard::start(&sides.world.guard, POLICY)?;
    let folder = guard.config().with_file_name("prometheus");
    fs::create_dir(&folder)?;
    let config = folder.join("prometheus.yml");
    let scrape = include_str!("../../../dist/prometheus/scrape.yml");
    fs::write(&config, format!("global: {{ scrape_interval: 1s }}\n{scrape}"))?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut prometheus = sides.world.guard.spawn("prometheus", &arguments)?;
    prometheus.logged("Server is ready to receive web requests", Duration::from_secs(60))?;

    let mut senders = sides.senders()?;
    for (nth, sender) in (1..).zip(&mut senders) {
        sender.send(10 * nth)?;
    }
    let sent: u64 = senders.iter().map(|sender| sender.sent).sum();
    wait::until("Prometheus to have scraped everything", Duration::from_secs(30), || {
        query(&sides.world.guard, "sum(ollama_guard_source_packets_total)").is_ok_and(|sum| sum == sent.to_string())
    })
    .with_context(|| prometheus.log())?;
    for sender in &senders {
        let source = format!("source=\"{}\",device=\"{}\"", sender.source, sender.interface());
        let packets = query(&sides.world.guard, &format!("sum(ollama_guard_source_packets_total{{{source}}})"))?;
        assert_eq!(packets, sender.sent.to_string(), "{source}");
    }
    let dropped = query(&sides.world.guard, "sum(ollama_guard_packets_total{verdict=\"dropped\"})")?;
    let strangers: u64 = senders.iter().filter(|sender| !sender.is_trusted()).map(|sender| sender.sent).sum();
    assert_eq!(dropped, strangers.to_string());
    assert_eq!(query(&sides.world.guard, "up{job=\"ollama-guard\"}")?, "1");
    Ok(())
}

/// The scrape once the last datagram has been judged: sending does not wait for that.
fn settled(ns: &Netns, senders: &[Sender<'_>]) -> Result<Scrape> {
    let sent: u64 = senders.iter().map(|sender| sender.sent).sum();
    wait::value(format!("{sent} packets"), Duration::from_secs(5), || {
        let scrape = Scrape::get(ns, METRICS).ok()?;
        (scrape.sum("ollama_guard_packets_total", &[]) >= float(sent)).then_some(scrape)
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
            scrape.sum("ollama_guard_source_packets_total", &labels),
            scrape.sum("ollama_guard_source_dropped_packets_total", &labels),
        ];
        ensure!(is == [float(sender.sent), float(dropped)], "{labels:?} sent {}: {is:?}", sender.sent);
    }
    let other = scrape.sum("ollama_guard_source_packets_total", &["source=\"other\""]);
    ensure!(other.abs() < 0.5, "{other} packets are nobody's\n{}", scrape.text);
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

fn lint(text: &str) -> Result<()> {
    let mut command = std::process::Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn()?;
    promtool.stdin.take().context("stdin")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success() && said.is_empty(), "promtool: {}\n{text}", String::from_utf8_lossy(&said));
    Ok(())
}

/// The value of an instant query with one result.
fn query(ns: &Netns, query: &str) -> Result<String> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (_, body) = scrape::page(ns, "127.0.0.1:9090".parse()?, &format!("/api/v1/query?query={encoded}"))?;
    let answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map(str::to_owned).with_context(|| format!("{query}: {answer}"))
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred packets")]
fn float(packets: u64) -> f64 {
    packets as f64
}
