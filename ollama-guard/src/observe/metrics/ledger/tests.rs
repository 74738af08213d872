//! Single cases, in the order in which they come up in life.

use super::*;
use crate::class::Class;
use crate::observe::samples::{counter, day, interface, source};
use crate::plan::hook::Hook;
use ollama_guard_common::Outcome;

/// A reading of eth0, number `index`: dropped packets in all, and by source.
fn reading(index: u32, total: u64, sources: &[(&str, u64)]) -> Snapshot {
    let mut snapshot = day();
    let mut eth0 = interface("eth0", index, Class::Guarded, Hook::Tcx, "");
    eth0.counters = vec![counter(Some("ollama"), Outcome::DroppedUntrusted, total)];
    snapshot.interfaces = vec![eth0];
    snapshot.sources = sources.iter().map(|(who, packets)| source(who, *packets)).collect();
    snapshot
}

fn update(ledger: &mut Ledger, limit: usize, snapshot: &Snapshot) {
    ledger.update(snapshot, limit, Duration::ZERO);
}

/// As [`update`], so many minutes after the start.
fn update_after(ledger: &mut Ledger, minutes: u64, limit: usize, snapshot: &mut Snapshot, seen: &[u64]) {
    let now = Duration::from_mins(minutes);
    for (source, seen) in snapshot.sources.iter_mut().zip(seen) {
        source.last_seen = now.saturating_sub(Duration::from_mins(*seen));
    }
    ledger.update(snapshot, limit, now);
}

/// Dropped packets by source; `*` is everybody else.
fn lines(ledger: &Ledger) -> String {
    let line = |shown: Shown<'_>| {
        let who = shown.source.map_or_else(|| "*".to_owned(), |who| who.to_string());
        format!("{who} {}", shown.packets[Fate::Dropped as usize])
    };
    ledger.shown().map(line).collect::<Vec<_>>().join(", ")
}

#[test]
fn sources_that_fit_are_shown_in_full() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 8, &reading(2, 30, &[("1.1.1.1", 20), ("2.2.2.2", 7)]));
    assert_eq!(lines(&ledger), "1.1.1.1 20, 2.2.2.2 7, * 3");
    update(&mut ledger, 8, &reading(2, 40, &[("1.1.1.1", 21), ("2.2.2.2", 7), ("3.3.3.3", 9)]));
    assert_eq!(lines(&ledger), "1.1.1.1 21, 2.2.2.2 7, 3.3.3.3 9, * 3");
}

#[test]
fn one_that_was_hidden_starts_at_zero() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 1, &reading(2, 30, &[("1.1.1.1", 20), ("2.2.2.2", 10)]));
    assert_eq!(lines(&ledger), "1.1.1.1 20, * 10");
    update(&mut ledger, 8, &reading(2, 30, &[("1.1.1.1", 20), ("2.2.2.2", 10)]));
    update(&mut ledger, 8, &reading(2, 35, &[("1.1.1.1", 20), ("2.2.2.2", 15)]));
    assert_eq!(lines(&ledger), "1.1.1.1 20, 2.2.2.2 5, * 10");
}

#[test]
fn one_that_the_kernel_forgets_keeps_its_count_and_goes_on() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 8, &reading(2, 20, &[("1.1.1.1", 20)]));
    update(&mut ledger, 8, &reading(2, 20, &[]));
    assert_eq!(lines(&ledger), "1.1.1.1 20, * 0");
    update(&mut ledger, 8, &reading(2, 23, &[("1.1.1.1", 3)]));
    assert_eq!(lines(&ledger), "1.1.1.1 23, * 0");
    update(&mut ledger, 8, &reading(2, 24, &[("1.1.1.1", 1)]));
    assert_eq!(lines(&ledger), "1.1.1.1 24, * 0", "forgotten and back between two readings");
}

#[test]
fn a_packet_between_the_two_tables_is_shown_late_rather_than_twice() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 8, &reading(2, 20, &[("1.1.1.1", 17)]));
    assert_eq!(lines(&ledger), "1.1.1.1 17, * 3");
    update(&mut ledger, 8, &reading(2, 20, &[("1.1.1.1", 20)]));
    assert_eq!(lines(&ledger), "1.1.1.1 17, * 3");
    update(&mut ledger, 8, &reading(2, 25, &[("1.1.1.1", 20)]));
    assert_eq!(lines(&ledger), "1.1.1.1 20, * 5");
}

#[test]
fn a_device_that_came_back_starts_anew() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 8, &reading(2, 20, &[("1.1.1.1", 20)]));
    update(&mut ledger, 8, &reading(3, 25, &[("2.2.2.2", 25)]));
    assert_eq!(lines(&ledger), "2.2.2.2 25, * 0");
}

#[test]
fn a_flood_leaves_room_for_clients_and_for_those_who_insist() {
    let crowd: Vec<String> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
    let mut sources: Vec<(&str, u64)> = crowd.iter().map(|who| (who.as_str(), 1)).collect();
    let mut ledger = Ledger::default();
    update(&mut ledger, 100, &reading(2, 200, &sources));
    assert_eq!(ledger.len(), 56, "half, and the first sixteenth at its price of one packet");
    sources.push(("9.9.9.9", 1_000));
    update(&mut ledger, 100, &reading(2, 1_200, &sources));
    assert_eq!(ledger.len(), 57);
    let stranger = (0..100).rev().find(|used| price(true, *used, 100) < u64::MAX);
    assert_eq!((stranger, price(true, 74, 100), price(false, 99, 100)), (Some(74), 16, 1));
}

/// Six seconds of invented addresses, and a quarter of an hour later they are in nobody's way any more.
#[test]
fn a_flood_that_is_over_blinds_nobody() {
    let crowd: Vec<String> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
    let flood: Vec<(&str, u64)> = crowd.iter().map(|who| (who.as_str(), 1)).collect();
    let mut ledger = Ledger::default();
    update_after(&mut ledger, 0, 100, &mut reading(2, 200, &flood), &[0; 200]);
    update_after(&mut ledger, 0, 100, &mut reading(2, 200, &flood), &[0; 200]);
    assert_eq!(ledger.len(), 56);
    // The kernel has forgotten all of them, and somebody new knocks.
    let new: Vec<String> = (1..=40).map(|n| format!("9.9.9.{n}")).collect();
    let knock = |packets: u64| new.iter().map(|who| (who.as_str(), packets)).collect::<Vec<_>>();
    update_after(&mut ledger, 9, 100, &mut reading(2, 240, &knock(1)), &[9; 40]);
    assert!(!lines(&ledger).contains("9.9.9.9 "), "not idle for long enough: {}", lines(&ledger));
    update_after(&mut ledger, 15, 100, &mut reading(2, 280, &knock(2)), &[15; 40]);
    update_after(&mut ledger, 16, 100, &mut reading(2, 320, &knock(3)), &[16; 40]);
    let said = lines(&ledger);
    assert!(new.iter().all(|who| said.contains(&format!("{who} "))) && !said.contains("10.0.0."), "{said}");
}

#[test]
fn one_that_comes_back_goes_on_where_it_ended() {
    let mut ledger = Ledger::default();
    let first = [("1.1.1.1", 3), ("2.2.2.2", 2)];
    update_after(&mut ledger, 0, 1, &mut reading(2, 5, &first), &[0, 0]);
    assert_eq!(lines(&ledger), "1.1.1.1 3, * 2", "there is one place");
    update_after(&mut ledger, 60, 1, &mut reading(2, 6, &[("2.2.2.2", 3)]), &[60]);
    update_after(&mut ledger, 61, 1, &mut reading(2, 7, &[("2.2.2.2", 4)]), &[61]);
    assert_eq!(lines(&ledger), "2.2.2.2 1, * 6");
    // Back, but `other` cannot give three yet; and then it can.
    update_after(&mut ledger, 62, 8, &mut reading(2, 8, &[("1.1.1.1", 1), ("2.2.2.2", 4)]), &[62, 61]);
    assert_eq!(lines(&ledger), "2.2.2.2 1, * 7");
    update_after(&mut ledger, 63, 8, &mut reading(2, 13, &[("1.1.1.1", 6), ("2.2.2.2", 4)]), &[63, 61]);
    assert_eq!(lines(&ledger), "1.1.1.1 3, 2.2.2.2 1, * 9");
    update_after(&mut ledger, 64, 8, &mut reading(2, 20, &[("1.1.1.1", 13), ("2.2.2.2", 4)]), &[64, 61]);
    assert_eq!(lines(&ledger), "1.1.1.1 10, 2.2.2.2 1, * 9");
}

#[test]
fn one_that_was_let_through_keeps_its_series() {
    let mut client = reading(2, 0, &[("1.1.1.1", 0)]);
    client.sources[0].packets = 1;
    client.interfaces[0].counters = vec![counter(Some("ollama"), Outcome::PassedAllowed, 1)];
    let mut ledger = Ledger::default();
    for hours in 0..100 {
        update_after(&mut ledger, 60 * hours, 1, &mut client, &[0]);
    }
    assert_eq!(ledger.len(), 1);
}

#[test]
fn what_is_remembered_of_ended_series_is_bounded() {
    let mut ledger = Ledger::default();
    update(&mut ledger, 8, &reading(2, 0, &[]));
    let group = ledger.groups.values_mut().next().unwrap();
    let newest = u32::try_from(MOST_ENDED).unwrap();
    for n in 0..=newest {
        group.ended.insert(IpAddr::V4(n.into()), Series { active: Duration::from_secs(n.into()), ..Series::default() });
    }
    update(&mut ledger, 8, &reading(2, 0, &[]));
    let ended = &ledger.groups.values().next().unwrap().ended;
    assert!(ended.len() <= MOST_ENDED / 2 && ended.contains_key(&IpAddr::V4(newest.into())));
}
