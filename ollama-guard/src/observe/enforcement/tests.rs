use super::super::samples::day;
use super::super::snapshot::{Attachment, SeatbeltState};
use super::*;
use crate::policy::Mode;

fn missing() -> Attachment {
    Attachment::Missing("the driver said no".into())
}

#[test]
fn an_ordinary_day_is_enforced_and_without_problems() {
    assert_eq!(enforcement(&day()), Enforcement::Full);
    assert_eq!(problems(&day()), []);
}

#[test]
fn no_policy_in_force_is_no_enforcement() {
    let mut snapshot = day();
    snapshot.services.clear();
    assert_eq!(enforcement(&snapshot), Enforcement::Absent);
}

#[test]
fn nothing_in_the_kernel_is_no_enforcement() {
    let mut snapshot = day();
    snapshot.interfaces.iter_mut().for_each(|interface| interface.attachment = missing());
    snapshot.seatbelt.state = SeatbeltState::Missing;
    assert_eq!(enforcement(&snapshot), Enforcement::Absent);
}

#[test]
fn every_layer_that_is_wanted_and_not_there_is_a_gap() {
    for state in [
        SeatbeltState::Missing,
        SeatbeltState::Altered("a rule more".into()),
        SeatbeltState::Unknown("no privilege".into()),
    ] {
        let mut snapshot = day();
        snapshot.seatbelt.state = state;
        assert_eq!(enforcement(&snapshot), Enforcement::Partial);
    }
    let mut snapshot = day();
    snapshot.interfaces[0].attachment = missing();
    assert_eq!(enforcement(&snapshot), Enforcement::Partial);
    assert_eq!(problems(&snapshot)[0].subject, "eth0");
}

#[test]
fn a_trusted_interface_that_cannot_be_counted_is_no_gap() {
    let mut snapshot = day();
    snapshot.interfaces[2].attachment = missing();
    assert_eq!(enforcement(&snapshot), Enforcement::Full);
    assert_eq!(problems(&snapshot).len(), 1);
}

#[test]
fn a_layer_that_is_switched_off_is_said_but_is_no_gap() {
    let mut snapshot = day();
    (snapshot.layers.seatbelt, snapshot.seatbelt.state) = (false, SeatbeltState::Missing);
    assert_eq!(enforcement(&snapshot), Enforcement::Full);
    assert!(problems(&snapshot)[0].problem.contains("seatbelt = false"));
}

#[test]
fn observing_is_not_enforcing() {
    let mut snapshot = day();
    snapshot.mode = Mode::Observe;
    assert_eq!(enforcement(&snapshot), Enforcement::Observing);
    assert!(!enforcement(&snapshot).is_full());
}

#[test]
fn a_gap_that_the_reader_found_counts_and_comes_first() {
    let mut snapshot = day();
    snapshot.daemon = false;
    snapshot.problems = vec![problem(Severity::Gap, "tcp 8080", "leads to a guarded port", "wait")];
    assert_eq!(enforcement(&snapshot), Enforcement::Partial);
    let subjects: Vec<_> = problems(&snapshot).into_iter().map(|problem| problem.subject).collect();
    assert_eq!(subjects, ["tcp 8080", "daemon"]);
}
