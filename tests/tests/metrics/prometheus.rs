//! What Prometheus' own programs make of the metrics, the alert rules and the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::netns::Netns;
use tests::scrape::{self, Scrape};
use tests::{require, requires, wait};

use super::traffic::Sides;
use super::{METRICS, POLICY};

const ALERTS: &str = include_str!("../../../dist/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../dist/prometheus/grafana.json");

#[test]
fn promtool_finds_nothing_to_say() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("promtool"));
    let sides = Sides::new()?;
    let guard = Guard::start(&sides.world.guard, POLICY)?;
    sides.senders()?.iter_mut().try_for_each(|sender| sender.send(1))?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(&sides.world.guard, METRICS).is_ok())?;
    let scrape = Scrape::get(&sides.world.guard, METRICS)?;
    lint(&scrape.text)?;
    names(&scrape.text)?;

    let folder = guard.config();
    let file = folder.with_file_name("ollama_guard.prom");
    let output = guard.command(&["metrics", "--textfile", file.to_str().context("path")?])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&file)?;
    lint(&text)?;
    let textfile = Scrape::parse(text)?;
    assert!(textfile.sum("ollama_guard_packets_total", &[]) >= 10.0);
    assert_eq!(textfile.count("ollama_guard_enforcing", &[]), 1);
    Ok(())
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() -> Result<()> {
    require!(requires::tool("promtool"));
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/prometheus/alerts.test.yml");
    let output = Command::new("promtool").args(["test", "rules", rules]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
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
    fs::write(folder.join("alerts.yml"), ALERTS)?;
    let often = "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [alerts.yml]";
    fs::write(&config, format!("{often}\n{scrape}"))?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut prometheus = sides.world.guard.spawn("prometheus", &arguments)?;
    prometheus.logged("Server is ready to receive web requests", Duration::from_mins(1))?;

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

    // Rates need traffic between two scrapes. What observe mode would drop is no series in this one.
    senders.iter_mut().try_for_each(|sender| sender.send(5))?;
    let dashboard = dashboard()?;
    ensure!(dashboard.len() > 15, "{dashboard:?}");
    for expression in dashboard.iter().filter(|expression| !expression.contains("would_drop")) {
        wait::until(format!("data for {expression}"), Duration::from_secs(30), || {
            let answer = ask(&sides.world.guard, expression).unwrap_or_default();
            answer["data"]["result"].as_array().is_some_and(|rows| !rows.is_empty())
        })?;
    }
    let alerts = ask_for(&sides.world.guard, "alerts")?;
    ensure!(alerts["data"]["alerts"].as_array().is_some_and(Vec::is_empty), "{alerts:#}");
    Ok(())
}

#[test]
fn every_alert_has_a_test_of_its_silence_and_one_of_its_noise() -> Result<()> {
    let (rules, tests) = (ALERTS, include_str!("../../../dist/prometheus/alerts.test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 5, "{alerts:?}");
    for alert in alerts {
        let (silent, noisy) = (format!("alertname: {alert}, exp_alerts: []"), format!("alertname: {alert}\n"));
        ensure!(tests.contains(&silent), "no test says when {alert} is silent");
        ensure!(tests.contains(&noisy), "no test says when {alert} fires");
    }
    Ok(())
}

/// The alert rules, the dashboard and the documentation speak of the metrics that there are, the documentation of all.
fn names(scrape: &str) -> Result<()> {
    let described = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let exposed: BTreeSet<&str> = described.collect();
    let documented = mentioned(include_str!("../../../docs/metrics.md"));
    for (file, names) in
        [("alerts.yml", mentioned(ALERTS)), ("grafana.json", mentioned(DASHBOARD)), ("metrics.md", documented.clone())]
    {
        ensure!(!names.is_empty(), "{file} speaks of no metric");
        let unknown: Vec<_> = names.iter().filter(|name| !exposed.contains(*name)).collect();
        ensure!(unknown.is_empty(), "{file} speaks of {unknown:?}, there are {exposed:?}");
    }
    let silent: Vec<_> = exposed.difference(&documented).collect();
    ensure!(silent.is_empty(), "metrics.md does not speak of {silent:?}");
    Ok(())
}

/// The names of metrics in a text.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ollama_guard_") || word.starts_with("process_")).collect()
}

fn lint(text: &str) -> Result<()> {
    let mut command = Command::new("promtool");
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
    let answer = ask(ns, query)?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map(str::to_owned).with_context(|| format!("{query}: {answer}"))
}

/// Asks Prometheus.
fn ask(ns: &Netns, query: &str) -> Result<Value> {
    let encoded: Vec<String> = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    ask_for(ns, &format!("query?query={}", encoded.concat()))
}

fn ask_for(ns: &Netns, what: &str) -> Result<Value> {
    let (_, body) = scrape::page(ns, "127.0.0.1:9090".parse()?, &format!("/api/v1/{what}"))?;
    serde_json::from_str(&body).with_context(|| body.clone())
}

/// Every query of the dashboard, with its variables filled in.
fn dashboard() -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let variables = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*"), ("$job", ".*")];
    let filled = |text: &str| variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    Ok(targets.filter_map(|target| target["expr"].as_str()).map(filled).collect())
}
