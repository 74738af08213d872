//! The log, `events --json`, `status` and `sources` as tables and as JSON, `/metrics` and the source's own count say the same.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::scrape::Scrape;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{POLICY, Reader, SOON, send};

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19434);
/// A frame with the five bytes that a datagram of [`send`] holds, over IPv4 and IPv6.
const DATAGRAM: [u64; 2] = [14 + 20 + 8 + 5, 14 + 40 + 8 + 5];

/// What a command prints for people.
struct Table(String);

impl Table {
    fn of(guard: &Guard<'_>, command: &str) -> Result<Self> {
        Ok(Self(String::from_utf8(guard.command(&[command])?.stdout)?))
    }

    /// The cells of the line that begins with this.
    fn row(&self, first: &str) -> Result<Vec<String>> {
        let rows = self.0.lines().map(|line| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect::<Vec<_>>()
        });
        let found = rows.into_iter().find(|row| row.first().is_some_and(|cell| cell == first));
        found.with_context(|| format!("no line {first}: {}", self.0))
    }
}

/// Thousands apart. No test sends a million.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{} {:03}", number / 1000, number % 1000) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_face_says_what_was_sent() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let guard = Guard::start(&world.guard, POLICY)?;
    let reader = Reader::start(&world.guard, &guard, &["--json"])?;
    let (mut sent, sizes) = ([0_u64; 2], [1_u64, 1500, 1, 3]);
    for size in sizes {
        for (sum, (from, to)) in sent.iter_mut().zip(internet.own.both().into_iter().zip(internet.guard.both())) {
            send(&internet.ns, from, to, size)?;
            *sum += size;
        }
        // A friend's packets are no events.
        send(&lan.ns, lan.own.v4.into(), lan.guard.v4.into(), size)?;
        let all: u64 = sent.iter().sum();
        // What a source sent last is told once it is silent.
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
        // What two processors saw may be told in either order; the first packet was all alone.
        ensure!(times.iter().all(|time| *time >= times[0]), "{times:?}");
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
    let bytes: u64 = sent.iter().zip(DATAGRAM).map(|(sent, bytes)| sent * bytes).sum();
    ensure!(inet0["dropped_bytes"] == bytes, "{bytes} bytes were sent: {inet0:#}");
    ensure!(scrape.count("ollama_guard_bytes_total", &["device=\"inet0\""]) == bytes, "{}", scrape.text);
    let friend: u64 = sizes.iter().sum();
    let lan0 = guard.interface("lan0")?;
    ensure!(lan0["passed_packets"] == friend && lan0["passed_bytes"] == friend * DATAGRAM[0], "{lan0:#}");
    ensure!(scrape.count("ollama_guard_packets_total", &["device=\"lan0\"", "verdict=\"passed\""]) == friend);

    // The tables, whose numbers are grouped.
    let table = Table::of(&guard, "status")?;
    for (row, passed, dropped) in [(&inet0, 0, all), (&lan0, friend, 0)] {
        let name = row["name"].as_str().context("name")?;
        let expected = [
            name,
            &text(&row["access"]),
            &text(&row["class"]),
            &text(&row["hook"]),
            &grouped(passed),
            &grouped(dropped),
        ];
        ensure!(table.row(name)?.starts_with(&expected.map(str::to_owned)), "{expected:?}: {}", table.0);
    }
    let table = Table::of(&guard, "sources")?;
    for (source, sent) in internet.own.both().into_iter().zip(sent) {
        let expected = [&source.to_string(), "inet0", "ollama", &grouped(sent), &grouped(sent)].map(str::to_owned);
        ensure!(table.row(&source.to_string())?.starts_with(&expected), "{expected:?}: {}", table.0);
    }
    let expected = [&lan.own.v4.to_string(), "lan0", "ollama", &grouped(friend), "0"].map(str::to_owned);
    ensure!(table.row(&expected[0])?.starts_with(&expected), "{expected:?}: {}", table.0);
    ensure!(status["events_lost"] == 0 && scrape.count("ollama_guard_events_lost_total", &[]) == 0, "{status:#}");

    // The log has the same lines; the journal has their fields besides (suite `journal`).
    let log = guard.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" dropped ")).collect();
    ensure!(lines.len() == documents.len(), "{log}\n{documents:#?}");
    let times = |line: &&str| line.rsplit_once(", ")?.1.strip_suffix(" times")?.parse::<u64>().ok();
    let logged: u64 = lines.iter().map(|line| times(line).unwrap_or(1)).sum();
    ensure!(logged == all, "{log}");
    ensure!(
        lines[0].contains("dropped 203.0.113.9 → 203.0.113.1:11434/udp on inet0 (untrusted)") && !log.contains("SRC="),
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
    wait::until("the daemon to observe", 3 * SOON, || guard.log().contains("OBSERVING"))
        .with_context(|| guard.log())?;
    let reader = Reader::start(&world.guard, &guard, &[])?;
    send(&internet.ns, internet.own.v6.into(), internet.guard.v6.into(), 1)?;
    wait::until("the line", SOON, || reader.0.log().contains(" on "))?;
    let line = reader.0.log();
    ensure!(line.contains("would drop 2001:db8:1::9 → [2001:db8:1::1]:11434/udp on inet0 (untrusted)"), "{line}");
    Ok(())
}
