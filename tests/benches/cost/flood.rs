//! A flood over a real link on one processor: frames made by the kernel, redirected into a veth, dropped behind it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::netns::Netns;
use tests::ufw::Ufw;
use tests::wait;

use crate::arena::{Host, POLICY, XdpFilter, received};
use crate::bpf::{Kind, Program};
use crate::frames::{GUARDED, HEAVY, Shape, sender};
use crate::measure::{Contender, Spread, busy_with_softirq, pin, race};
use crate::picture::{self, Bar};
use crate::table::{self, Goal, Row};

const FRAMES: u32 = 400_000;
const ROUNDS: usize = 9;
const NAMES: [(&str, &str); 7] = [
    ("bare XDP", "bare0"),
    ("our XDP", "xdp0"),
    ("our TC", "tc0"),
    ("xdp-filter", "filter0"),
    ("nft prerouting", "nft0"),
    ("iptables INPUT", "ipt0"),
    ("ufw", "ufw0"),
];

/// The rows of the second table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let outside = Netns::new("outside")?;
    let (guarded, bare, filter) = (Host::new("guarded")?, Host::new("bare")?, Host::new("filter")?);
    let (nft, iptables, ufw) = (Host::new("nft")?, Host::new("iptables")?, Host::new("ufw")?);
    let hosts = [&bare, &guarded, &guarded, &filter, &nft, &iptables, &ufw];
    let mut doors = Vec::new();
    for ((_, interface), host) in NAMES.iter().zip(hosts) {
        doors.push(host.door(&outside, interface)?);
    }
    for (host, interface) in [(&nft, "nft0"), (&iptables, "ipt0"), (&ufw, "ufw0")] {
        host.ns.ip(&format!("address add 203.0.113.1/24 dev {interface}\nroute add default dev {interface}"))?;
    }
    nft.ns.nft(&format!(
        "add table inet t\nadd chain inet t c {{ type filter hook prerouting priority -300; }}\n\
         add rule inet t c tcp dport {GUARDED} counter drop\n"
    ))?;
    iptables.ns.run("iptables", &["-A", "INPUT", "-p", "tcp", "--dport", &GUARDED.to_string(), "-j", "DROP"])?;
    let _ufw = Ufw::enable(&ufw.ns)?; // which refuses by itself whatever nobody allowed
    let drop = Program::bare(Kind::Xdp, 1)?;
    let _attached = bare.ns.enter(|| drop.attach(doors[0].inside))??;
    let _filter = XdpFilter::start(&filter, "filter0")?;
    let guard = Guard::start(&guarded.ns, POLICY)?;

    let frame = Shape::Tcp4.frame(GUARDED);
    let (mut rows, mut groups) = (Vec::new(), Vec::new());
    for (what, spoof) in [("one source", false), ("10^6 sources", true)] {
        let mut contenders = Vec::new();
        for ((&(name, interface), host), door) in NAMES.iter().zip(hosts).zip(&doors) {
            let (program, ns, frame) = (sender(&outside, door.outside, spoof)?, &host.ns, frame.as_slice());
            contenders.push(Contender {
                name: name.to_owned(),
                work: Box::new(move || {
                    let before = received(ns, interface)?;
                    let ((), time) = busy_with_softirq(|| program.send(frame, FRAMES))?;
                    let arrived = received(ns, interface)? - before;
                    ensure!(arrived > u64::from(FRAMES) / 2, "only {arrived} frames of {FRAMES} arrived");
                    Ok(time.as_secs_f64() * 1e9 / f64::from(u32::try_from(arrived)?))
                }),
            });
        }
        let samples = outside.enter(|| pin().and_then(|()| race(contenders, ROUNDS)))??;
        let bar = |(name, _): &(&str, &str)| {
            let value = 1e3 / samples.cost(name)?.median;
            Ok(Bar { name: (*name).to_owned(), value, ours: name.starts_with("our") })
        };
        groups.push((format!("from {what}"), NAMES.iter().map(bar).collect::<Result<_>>()?));
        rows.push(Row::rate(&samples, what, "our XDP", "bare XDP", Goal::AtLeast(0.95))?);
        rows.push(Row::rate(&samples, what, "our XDP", "xdp-filter", Goal::None)?);
        rows.push(Row::rate(&samples, what, "our XDP", "nft prerouting", Goal::AtLeast(1.5))?);
        rows.push(Row::rate(&samples, what, "our XDP", "iptables INPUT", Goal::None)?);
        rows.push(Row::rate(&samples, what, "our XDP", "ufw", Goal::None)?);
        rows.push(Row::rate(&samples, what, "our TC", "nft prerouting", Goal::None)?);
        rows.push(Row::rate(&samples, what, "our TC", "iptables INPUT", Goal::None)?);
        rows.push(Row::rate(&samples, what, "our TC", "ufw", Goal::None)?);
    }
    let title = "Dropped by one processor, in million packets a second of its time";
    table::keep("flood.svg", &picture::bars(title, "M/s", &groups))?;
    rows.push(attribution(&guard, &outside, doors[1].outside, &frame)?);
    Ok(rows)
}

/// Of what a source sent that made up a tenth of a flood, the share that is attributed to it.
fn attribution(guard: &Guard<'_>, outside: &Netns, interface: u32, frame: &[u8]) -> Result<Row> {
    const FLOOD: u32 = 4_000_000;
    let program = sender(outside, interface, true)?;
    let before = (dropped(guard)?, attributed(guard)?);
    outside.enter(|| pin().and_then(|()| program.send(frame, FLOOD)))??;
    // What the last frames still queue up behind is counted when two readings agree.
    let mut last = before.0;
    let after = wait::value("the flood to be counted", Duration::from_secs(5), || {
        let now = dropped(guard).ok()?;
        let settled = now > before.0 && (now - std::mem::replace(&mut last, now)).abs() < 0.5;
        settled.then_some(now)
    })?;
    let sent = (after - before.0) / 10.0;
    let share = (attributed(guard)? - before.1) / sent * 100.0;
    let share = Spread { low: share, median: share, high: share };
    Ok(Row::figure("a tenth of 10^6 sources' flood: attributed", share, "%", Goal::AtLeast(99.0)))
}

fn dropped(guard: &Guard<'_>) -> Result<f64> {
    guard.interface("xdp0")?["dropped_packets"].as_f64().context("status counts no drops")
}

fn attributed(guard: &Guard<'_>) -> Result<f64> {
    let text = guard.command(&["sources", "--json"])?.stdout;
    let sources: Value = serde_json::from_slice(&text)?;
    let heavy = HEAVY.map(|octet| octet.to_string()).join(".");
    let rows = sources["sources"].as_array().context("no sources")?;
    let of_heavy = rows.iter().filter(|row| row["source"] == *heavy && row["interface"] == "xdp0");
    Ok(of_heavy.filter_map(|row| row["packets"].as_f64()).sum())
}
