//! Ports that were guarded a moment ago: a proxy that ends with its container is back before anybody looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::decide::{Decision, MOST, quota};
use super::{DerivedPort, Place};

/// How long a port stays guarded after nothing leads anywhere from it. Docker waits up to a minute before it starts a
/// failing container again, and a container has ten seconds to end.
const LINGER: Duration = Duration::from_mins(2);
/// How long a socket of the same user may be there before it is believed to be something else. Docker itself holds the
/// socket for a moment before its proxy has it. Of another user it is something else at once.
const DOUBT: Duration = Duration::from_secs(3);

/// What is guarded, and since when there is no reason for it.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<Place, Known>);

/// Who listens on a port that nothing leads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Nobody,
    /// The user whose word it was.
    Same,
    Another,
}

#[derive(Debug)]
struct Known {
    port: DerivedPort,
    /// When there was last a reason.
    reason: Instant,
    /// When it last led there.
    present: Option<Instant>,
    /// Since when somebody else listens there.
    occupied: Option<Instant>,
}

impl Memory {
    /// Takes over what an earlier daemon guarded.
    pub(super) fn of(ports: &[DerivedPort], now: Instant) -> Self {
        let known = |port: &DerivedPort| (port.place(), Known::new(port.clone(), now));
        Self(ports.iter().map(known).collect())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Which ports those are.
    pub(super) fn places(&self) -> BTreeSet<Place> {
        self.0.keys().copied().collect()
    }

    /// What is to be guarded now, sorted: what leads to a guarded port, what is about to, and what did.
    pub(super) fn update(
        &mut self,
        decision: Decision,
        now: Instant,
        occupant: impl Fn(Place, u32) -> Occupant,
    ) -> Vec<DerivedPort> {
        let Decision { present, expected, elsewhere, .. } = decision;
        for (place, known) in &mut self.0 {
            known.port.present = false;
            known.occupied = match occupant(*place, known.port.user) {
                Occupant::Nobody => None,
                Occupant::Same => Some(known.occupied.unwrap_or(now)),
                Occupant::Another => Some(now.checked_sub(DOUBT).unwrap_or(now)),
            };
        }
        for mut port in present.into_iter().chain(expected) {
            // A container that stopped a moment ago may be back in another: nobody else has had its port meanwhile.
            let led = if port.present { Some(now) } else { self.0.get(&port.place()).and_then(|known| known.present) };
            port.expected &= !led.is_some_and(|then| now.saturating_duration_since(then) < LINGER);
            self.0.insert(port.place(), Known { present: led, ..Known::new(port, now) });
        }
        self.0.retain(|place, known| {
            let doubted = known.occupied.is_some_and(|since| now.saturating_duration_since(since) >= DOUBT);
            !elsewhere.contains(place) && !doubted && now.saturating_duration_since(known.reason) < LINGER
        });
        let mut ports: Vec<_> = self.0.values().map(|known| known.port.clone()).collect();
        ports.sort_by_key(|port| (!port.present, port.user));
        let mut quota = quota();
        ports.retain(|port| quota.take(port.user));
        ports.truncate(MOST);
        self.0.retain(|place, _| ports.iter().any(|port| port.place() == *place));
        ports.sort();
        ports
    }
}

impl Known {
    fn new(port: DerivedPort, now: Instant) -> Self {
        Self { present: (!port.expected).then_some(now), port, reason: now, occupied: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::everywhere;
    use crate::policy::Protocol;

    const PLACE: Place = (Protocol::Tcp, 8080);

    fn port(present: bool) -> DerivedPort {
        DerivedPort {
            protocol: PLACE.0,
            port: PLACE.1,
            addresses: everywhere(),
            service: "ollama".parse().unwrap(),
            container: Some("web".into()),
            through: "docker-proxy".into(),
            present,
            user: 0,
            expected: false,
            refused: None,
        }
    }

    fn present() -> Decision {
        Decision { present: vec![port(true)], ..Decision::default() }
    }

    #[test]
    fn a_port_that_vanished_stays_guarded_for_a_while() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        assert_eq!(memory.update(present(), start, |_, _| Occupant::Nobody), [port(true)]);
        let mut after = |time| memory.update(Decision::default(), start + time, |_, _| Occupant::Nobody);
        assert_eq!(after(Duration::from_secs(61)), [port(false)]);
        assert_eq!(after(LINGER), []);
    }

    #[test]
    fn an_expected_port_stays_as_long_as_it_is_expected() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let expected = || Decision { expected: vec![port(false)], ..Decision::default() };
        for hours in 0..3 {
            assert_eq!(
                memory.update(expected(), start + Duration::from_hours(hours), |_, _| Occupant::Nobody),
                [port(false)]
            );
        }
    }

    #[test]
    fn somebody_elses_port_is_let_go() {
        let (start, mut memory) = (Instant::now(), Memory::of(&[port(true)], Instant::now()));
        assert_eq!(
            memory.update(Decision::default(), start, |_, _| Occupant::Same),
            [port(false)],
            "it may be the proxy to come"
        );
        assert_eq!(memory.update(present(), start + DOUBT, |_, _| Occupant::Same), [port(true)], "it was");
        assert_eq!(memory.update(Decision::default(), start + DOUBT, |_, _| Occupant::Same), [port(false)]);
        assert_eq!(memory.update(Decision::default(), start + 2 * DOUBT, |_, _| Occupant::Same), []);

        memory.update(present(), start, |_, _| Occupant::Nobody);
        let elsewhere = Decision { elsewhere: [PLACE].into(), ..Decision::default() };
        assert_eq!(memory.update(elsewhere, start, |_, _| Occupant::Same), [], "another container has it");
    }

    /// Whoever said where it led: the port is nobody's for having been his.
    #[test]
    fn another_user_s_port_is_let_go_at_once() {
        let (now, mut memory) = (Instant::now(), Memory::default());
        let his = DerivedPort { user: 1000, ..port(true) };
        memory.update(Decision { present: vec![his], ..Decision::default() }, now, |_, _| Occupant::Same);
        assert_eq!(memory.update(Decision::default(), now, |_, _| Occupant::Another), []);
    }

    #[test]
    fn one_user_s_ports_crowd_out_nobody_s() {
        let (now, mut memory) = (Instant::now(), Memory::default());
        for first in (1..2000).step_by(100) {
            let many = (first..first + 100).map(|port| DerivedPort { port, user: 1000, ..self::port(true) });
            memory.update(Decision { present: many.collect(), ..Decision::default() }, now, |_, _| Occupant::Nobody);
        }
        memory.update(present(), now, |_, _| Occupant::Nobody);
        let ports = memory.update(Decision::default(), now, |_, _| Occupant::Nobody);
        assert!(ports.contains(&port(false)) && ports.len() < MOST, "{}", ports.len());
    }
}
