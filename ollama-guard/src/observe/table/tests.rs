use std::time::Duration;

use insta::assert_snapshot;
use ollama_guard_common::Outcome;

use super::super::samples::{counter, day, derived, interface, last_drop};
use super::super::snapshot::{Attachment, Interface, Problem, Severity};
use super::*;
use crate::class::Class;
use crate::derived::DerivedPort;
use crate::findings::TurnedAway;
use crate::init::Init;
use crate::plan::hook::Hook;
use crate::policy::{Access, Mode};

fn text(snapshot: &Snapshot) -> String {
    with(snapshot, Options::default())
}

fn with(snapshot: &Snapshot, options: Options) -> String {
    let mut text = String::new();
    write(&mut text, snapshot, None, options).unwrap();
    text
}

fn width(width: usize) -> Options {
    Options { style: Style { width: Some(width), color: false }, all: false }
}

#[test]
fn an_ordinary_day() {
    let mut day = day();
    // Without its drops on docker0: the advice about containers has a test of its own.
    day.interfaces[1].counters.clear();
    day.interfaces[1].last_drop = None;
    assert_snapshot!(text(&day));
    assert!(include_str!("../../../../README.md").contains(&text(&day)), "README.md shows another table");
}

#[test]
fn containers_refused() {
    assert_snapshot!(text(&day()));
}

#[test]
fn why_each_hook() {
    assert_snapshot!(with(&day(), Options { all: true, ..Options::default() }));
}

#[test]
fn observe_mode() {
    let mut day = day();
    day.mode = Mode::Observe;
    day.interfaces[0].counters = vec![counter(Some("ollama"), Outcome::WouldDropUntrusted, 1_234)];
    day.interfaces[1].counters.clear();
    day.interfaces.iter_mut().for_each(|interface| interface.access = Access::Open);
    assert_snapshot!(text(&day));
}

/// The lines to copy stay whole at any width.
#[test]
fn a_private_address_turned_away() {
    let mut day = day();
    day.interfaces[1].counters.clear();
    let away = TurnedAway {
        source: [192, 168, 1, 50].into(),
        interface: "eth0".parse().unwrap(),
        packets: 12,
        others: 0,
        vpn: Some("tailscale0".parse().unwrap()),
        routed_to: None,
    };
    let last = |day: &Snapshot, options| with(day, options).rsplit_once("\n\n").unwrap().1.to_owned();
    day.turned_away = Some(away.clone());
    let plain = last(&day, Options::default());
    let router = TurnedAway { others: 3, vpn: None, routed_to: Some("tailscale0".parse().unwrap()), ..away.clone() };
    day.turned_away = Some(router);
    let through = last(&day, width(60));
    (day.mode, day.turned_away) = (Mode::Observe, Some(TurnedAway { packets: 1, ..away }));
    let observed = last(&day, Options::default());
    assert!(
        observed.contains("1 packet from the private address 192.168.1.50 on eth0 would have been dropped"),
        "{observed}"
    );
    assert_snapshot!([plain, through].join("\n"));
}

/// A port of a bridge is its bridge's affair, until its own program has refused something.
#[test]
fn ports_of_a_bridge() {
    let mut day = day();
    for (name, index, packets) in [("eth1", 8, 3), ("veth0", 9, 0)] {
        let mut port = interface(name, index, Class::Guarded, Hook::Tcx, "");
        port.attachment = Attachment::Member("in br0".into());
        if packets > 0 {
            port.counters = vec![counter(Some("ollama"), Outcome::DroppedUntrusted, packets)];
            port.last_drop = Some(last_drop("203.0.113.9", Duration::from_secs(2)));
        }
        day.interfaces.insert(1, port);
    }
    let text = text(&day);
    let row =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row("eth1")[3..].join(" "), "in br0 0 3 2 s ago from 203.0.113.9");
    assert_eq!(row("veth0")[3..].join(" "), "in br0 - - -");
}

#[test]
fn layers_switched_off() {
    let mut day = day();
    (day.layers.wall, day.layers.seatbelt) = (false, false);
    day.interfaces.iter_mut().for_each(|i| i.attachment = Attachment::NotNeeded("wall off".into()));
    day.seatbelt.state = SeatbeltState::Missing;
    assert_snapshot!(text(&day));
}

#[test]
fn derived_ports() {
    let mut day = day();
    let refused = DerivedPort { port: 22, refused: Some("tcp 22 is SSH's port".into()), ..derived() };
    day.derived = vec![derived(), refused];
    let text = text(&day);
    assert!(text.contains("\nderived      tcp 8080 → ollama (container open-webui-1, docker-proxy)\n"), "{text}");
    assert!(text.contains("\n             tcp 22 → ollama (container open-webui-1, docker-proxy) · OPEN\n"), "{text}");
}

#[test]
fn gaps() {
    let mut day = day();
    day.daemon = false;
    day.interfaces[0].attachment = Attachment::Missing("link eth0: the driver said no".into());
    day.seatbelt.state = SeatbeltState::Altered("two rules less in prerouting".into());
    day.seatbelt.dropped[0].1 = 1_000;
    day.seatbelt.repairs = 2;
    day.problems = vec![Problem {
        severity: Severity::Gap,
        subject: "tcp 8080".into(),
        problem: "docker-proxy passes it on to port 11434 of a container".into(),
        next_step: "wait a moment; if it stays, add 8080 to a [[service]]".into(),
    }];
    assert_snapshot!(text(&day));
}

/// A command that is not there helps nobody.
#[test]
fn without_systemd_none_of_its_commands_is_named() {
    let mut day = day();
    day.init = Init::Other;
    for (daemon, guarded) in [(false, true), (true, true), (false, false)] {
        day.daemon = daemon;
        day.seatbelt.state = SeatbeltState::Missing;
        if !guarded {
            day.services.clear();
        }
        let text = text(&day);
        assert!(text.contains("PROBLEM") && !text.contains("systemctl") && !text.contains("journalctl"), "{text}");
    }
}

#[test]
fn nothing_guarded() {
    let mut day = day();
    day.services.clear();
    (day.up, day.daemon) = (None, false);
    day.interfaces.clear();
    day.seatbelt.state = SeatbeltState::Missing;
    assert_snapshot!(text(&day));
}

#[test]
fn narrow_terminals() {
    let mut day = day();
    day.interfaces[0].last_drop = Some(last_drop("2001:db8:1234:5678:9abc:def0:1234:5678", Duration::from_secs(90)));
    for columns in [120, 80, 60, 50, 30] {
        let text = with(&day, width(columns));
        let table = text.lines().skip_while(|line| !line.starts_with("INTERFACE")).take(6);
        assert!(columns <= 30 || table.clone().all(|line| line.chars().count() <= columns), "{columns}: {text}");
        assert_snapshot!(format!("width_{columns}"), table.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn many_interfaces() {
    let mut day = day();
    let veth = |n: u32| interface(&format!("veth{n:07x}"), 100 + n, Class::Guarded, Hook::Tcx, "");
    day.interfaces.extend((0..1_500).map(veth));
    let port = |n: u32| Interface {
        master: Some("docker0".into()),
        attachment: Attachment::NotNeeded("in docker0".into()),
        ..veth(9_000 + n)
    };
    day.interfaces.extend((0..12).map(port));
    let nic = interface("eth1", 3, Class::Guarded, Hook::XdpNative, "");
    day.interfaces.push(Interface { physical: true, ..nic });
    day.interfaces[700].counters = vec![counter(Some("ollama"), Outcome::DroppedUntrusted, 1)];
    day.interfaces[701].attachment = Attachment::Missing("no such device".into());
    assert_snapshot!(text(&day));
    let all = Options { all: true, ..Options::default() };
    assert!(with(&day, all).lines().count() > 1_500);
}

#[test]
fn rates_between_two_readings() {
    let before = day();
    let mut after = day();
    after.interfaces[0].counters[0].packets += 5_000;
    after.interfaces[2].counters[0].packets = 7; // A counter that started again must not wrap.
    after.interfaces[1].index = Some(99); // A new interface with an old one's name has no rate yet.
    let mut text = String::new();
    let earlier = Earlier { snapshot: &before, elapsed: Duration::from_secs(2) };
    write(&mut text, &after, Some(earlier), Options::default()).unwrap();
    assert_snapshot!(text);
}

#[test]
fn colour_only_where_it_is_wanted() {
    let mut day = day();
    day.interfaces[0].attachment = Attachment::Missing("the driver said no".into());
    assert!(!text(&day).contains('\x1b'));
    let color = Options { style: Style { width: None, color: true }, all: false };
    let text = with(&day, color);
    assert!(text.contains("\x1b[1;31meth0"), "{text}");
}

#[test]
fn the_seatbelt_in_every_state() {
    let said = |state: SeatbeltState, repairs: u64| {
        let mut day = day();
        (day.seatbelt.state, day.seatbelt.repairs) = (state, repairs);
        let text = text(&day);
        text.lines()
            .find_map(|line| line.strip_prefix("seatbelt     nftables inet ollama_guard · "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(said(SeatbeltState::Intact, 0), "intact · 0 dropped");
    assert_eq!(said(SeatbeltState::Intact, 1), "intact · 0 dropped · repaired once");
    assert_eq!(said(SeatbeltState::Intact, 1_000), "intact · 0 dropped · repaired 1 000 times");
    assert_eq!(said(SeatbeltState::Altered("a rule is gone".into()), 0), "MODIFIED · 0 dropped");
    assert_eq!(said(SeatbeltState::Missing, 1), "MISSING");
    assert_eq!(said(SeatbeltState::Unknown("no permission".into()), 1), "UNKNOWN");
}

#[test]
fn what_is_not_known_of_sources() {
    let mut day = day();
    assert!(!text(&day).contains("\nsources"));
    (day.unattributed_packets, day.source_evictions, day.events_lost) = (1, 2_000, 3);
    day.unattributed_for = Some(Duration::from_hours(75));
    let text = text(&day);
    let expected = "\nsources      1 tracked · 1 packet from untracked sources (first noticed 3 days ago) · \
                    2 000 made room for others · 3 events not sent\n             more sources at once than";
    assert!(text.contains(expected), "{text}");
}
