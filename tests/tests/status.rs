//! Promises 4 and 5: what `status` and `sources` say is what happened. An independent source counts what it sends.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::{Addresses, World};
use tests::{require, requires, wait};

const PORT: u16 = 11434;

/// A guarded UDP port: one datagram is one packet, with no retransmission and no handshake.
const UDP: &str = "[[service]]\nname = \"ollama\"\nports = [11434]\nprotocols = [\"tcp\", \"udp\"]";

/// Sends as many datagrams of `bytes` payload, from an address that the namespace has.
fn send(from: &Netns, source: IpAddr, to: IpAddr, count: usize, bytes: usize) -> Result<()> {
    from.enter(|| {
        let socket = UdpSocket::bind((source, 0))?;
        let payload = vec![0; bytes];
        (0..count).try_for_each(|_| socket.send_to(&payload, SocketAddr::new(to, PORT)).map(drop))
    })??;
    Ok(())
}

/// Frame length of a datagram: Ethernet, IP and UDP headers.
fn frame(source: IpAddr, bytes: u64) -> u64 {
    bytes + 14 + 8 + if source.is_ipv4() { 20 } else { 40 }
}

fn by_arrangement(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    internet.ns.ip("address add 203.0.113.10/24 dev eth0\naddress add 203.0.113.11/24 dev eth0")?;
    let policy = format!("{UDP}\n[interfaces]\ntrusted = [\"lo\", \"lan0\"]");
    let guard = Guard::start(&world.guard, &layers.policy(&policy))?;

    let mut sent = Vec::new();
    let strangers = ["203.0.113.9", "203.0.113.10", "203.0.113.11", "2001:db8:1::9"];
    for (source, count) in strangers.into_iter().zip([100_u64, 30, 7, 50]) {
        let source: IpAddr = source.parse()?;
        let to = if source.is_ipv4() { internet.guard.v4.into() } else { internet.guard.v6.into() };
        send(&internet.ns, source, to, usize::try_from(count)?, 64)?;
        sent.push((source, "inet0", count, count));
    }
    let Addresses { v4, v6 } = lan.own;
    for (source, to) in [(v4.into(), lan.guard.v4.into()), (v6.into(), lan.guard.v6.into())] {
        send(&lan.ns, source, to, 20, 64)?;
        sent.push((source, "lan0", 20, 0));
    }

    let status = guard.status_when("all to be counted", |status| total(status) >= 227)?;
    let [inet0, lan0] = ["inet0", "lan0"].map(|name| guard.interface(name));
    let (inet0, lan0) = (inet0?, lan0?);
    assert_eq!((&inet0["dropped_packets"], &inet0["passed_packets"]), (&json!(187), &json!(0)), "{inet0:#}");
    assert_eq!((&lan0["dropped_packets"], &lan0["passed_packets"]), (&json!(0), &json!(40)), "{lan0:#}");
    let bytes: u64 = sent.iter().filter(|sent| sent.3 > 0).map(|sent| sent.2 * frame(sent.0, 64)).sum();
    assert_eq!(inet0["dropped_bytes"], json!(bytes));
    assert_eq!(inet0["drops"], json!({"untrusted": 187}));
    assert_eq!(lan0["passes"], json!({"trusted": 40}));

    let sources = guard.command(&["sources", "--json"])?;
    let sources: Value = serde_json::from_slice(&sources.stdout)?;
    let rows = sources["sources"].as_array().context("no sources")?;
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or(u64::MAX);
    let mut seen: Vec<(IpAddr, &str, u64, u64)> = rows
        .iter()
        .map(|row| {
            let source = row["source"].as_str().unwrap_or_default().parse()?;
            let interface = row["interface"].as_str().unwrap_or_default();
            Ok((source, interface, number(row, "packets"), number(row, "dropped_packets")))
        })
        .collect::<Result<_>>()?;
    seen.sort_unstable();
    sent.sort_unstable();
    assert_eq!(seen, sent, "each source, exactly");
    assert_eq!(sources["unattributed_packets"], json!(0));
    let attributed: u64 = seen.iter().map(|seen| seen.2).sum();
    assert_eq!(attributed + number(&sources, "unattributed_packets"), total(&status));
    assert_eq!(status["sources_tracked"], json!(6));

    let top = guard.command(&["sources", "--top", "2"])?;
    let top = String::from_utf8_lossy(&top.stdout).into_owned();
    let order: Vec<&str> = top.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(order.get(..2), Some(&["203.0.113.9", "2001:db8:1::9"][..]), "{top}");
    assert!(!top.contains("203.0.113.11"), "{top}");
    Ok(())
}

/// Every packet that any interface counted.
fn total(status: &Value) -> u64 {
    let rows = status["interfaces"].as_array().into_iter().flatten();
    rows.flat_map(|row| [&row["passed_packets"], &row["dropped_packets"], &row["would_drop_packets"]])
        .filter_map(Value::as_u64)
        .sum()
}

#[test]
fn counts_are_what_was_sent_by_generic_xdp() -> Result<()> {
    by_arrangement(Layers::XdpGeneric)
}

#[test]
fn counts_are_what_was_sent_by_native_xdp() -> Result<()> {
    by_arrangement(Layers::Xdp)
}

#[test]
fn counts_are_what_was_sent_by_tc_and_nftables() -> Result<()> {
    by_arrangement(Layers::Both)
}

#[test]
fn the_document_has_the_keys_of_its_contract() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, &Layers::Both.policy(UDP))?;
    send(&internet.ns, internet.own.v4.into(), internet.guard.v4.into(), 3, 10)?;
    let status = guard.status_when("the packets to be counted", |status| total(status) == 3)?;

    let has = |value: &Value, keys: &[&str]| {
        let found: BTreeSet<_> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let missing: Vec<_> = keys.iter().filter(|key| !found.contains(**key)).collect();
        assert!(missing.is_empty(), "{missing:?} are missing in {value:#}");
    };
    has(&status, &["version", "mode", "enforcing", "services", "interfaces", "seatbelt", "sources"]);
    has(&status, &["sources_tracked", "unattributed_packets", "problems"]);
    has(&status["services"][0], &["name", "protocols", "ports"]);
    let row = guard.interface("inet0")?;
    has(&row, &["name", "index", "class", "hook", "passed_packets", "passed_bytes", "dropped_packets"]);
    has(&row, &["dropped_bytes", "drops", "last_drop"]);
    assert_eq!(row["last_drop"]["source"], "203.0.113.9");
    assert!(row["last_drop"]["seconds_ago"].as_f64().is_some_and(|ago| (0.0..60.0).contains(&ago)), "{row:#}");
    has(&status["seatbelt"], &["installed", "dropped_packets", "repairs"]);
    assert_eq!((&status["seatbelt"]["installed"], &status["seatbelt"]["dropped_packets"]), (&json!(true), &json!(0)));
    has(&status["sources"][0], &["source", "interface", "service", "packets", "dropped_packets"]);
    assert_eq!(status["problems"], json!([]));
    assert_eq!((&status["mode"], &status["enforcing"]), (&json!("enforce"), &json!(true)));
    Ok(())
}

/// On a terminal of 60 columns no row is longer, and the drops are still there. `script` makes the terminal.
#[test]
fn the_table_fits_a_narrow_terminal() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("script"), requires::tool("stty"));
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, &Layers::Both.policy(UDP))?;
    send(&internet.ns, internet.own.v6.into(), internet.guard.v6.into(), 1234, 10)?;
    wait::until("the packets to be counted", Duration::from_secs(10), || {
        guard.status().is_ok_and(|status| total(&status) == 1234)
    })?;
    let program = tests::guard::binary();
    let status = format!("stty rows 24 cols 60; {} status --config {}", program.display(), guard.config().display());
    let screen = world.guard.run("script", &["-qec", &status, "/dev/null"])?;
    let plain = without_colour(&screen);
    assert!(plain.contains("inet0") && plain.contains("1 234"), "{plain}");
    // The lines around the table are prose, which the terminal wraps.
    for line in plain.lines().skip_while(|line| !line.starts_with("INTERFACE")).take_while(|line| !line.is_empty()) {
        assert!(line.chars().count() <= 60, "{} columns: {line}\n{plain}", line.chars().count());
    }
    Ok(())
}

/// Without the escape sequences that set colors.
fn without_colour(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest)).replace('\r', "")
}
