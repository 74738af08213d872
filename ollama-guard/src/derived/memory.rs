//! Ports that were guarded a moment ago: a proxy that ends with its container is back before anybody looks again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::DerivedPort;
use super::decide::{Decision, MOST};
use crate::policy::Protocol;

/// How long a port stays guarded after nothing leads anywhere from it. Docker waits up to a minute before it starts a
/// failing container again, and a container has ten seconds to end.
const LINGER: Duration = Duration::from_mins(2);
/// How long somebody else may listen on such a port before it is believed to be his. Docker itself holds the socket
/// for a moment before its proxy has it.
const DOUBT: Duration = Duration::from_secs(3);

/// What is guarded, and since when there is no reason for it.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<(Protocol, u16), Known>);

#[derive(Debug)]
struct Known {
    port: DerivedPort,
    /// When there was last a reason.
    reason: Instant,
    /// Since when somebody else listens there.
    occupied: Option<Instant>,
}

impl Memory {
    /// Takes over what an earlier daemon guarded.
    pub(super) fn of(ports: &[DerivedPort], now: Instant) -> Self {
        let known = |port: &DerivedPort| ((port.protocol, port.port), Known::new(port.clone(), now));
        Self(ports.iter().map(known).collect())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to be guarded now, sorted: what leads to a guarded port, what is about to, and what did.
    pub(super) fn update(
        &mut self,
        decision: Decision,
        now: Instant,
        occupied: impl Fn((Protocol, u16)) -> bool,
    ) -> Vec<DerivedPort> {
        let Decision { present, expected, elsewhere } = decision;
        for (place, known) in &mut self.0 {
            known.port.present = false;
            known.occupied = occupied(*place).then(|| known.occupied.unwrap_or(now));
        }
        for port in present.into_iter().chain(expected) {
            self.0.insert((port.protocol, port.port), Known::new(port, now));
        }
        self.0.retain(|place, known| {
            let doubted = known.occupied.is_some_and(|since| now.saturating_duration_since(since) >= DOUBT);
            !elsewhere.contains(place) && !doubted && now.saturating_duration_since(known.reason) < LINGER
        });
        let mut ports: Vec<_> = self.0.values().map(|known| known.port.clone()).collect();
        ports.sort_by_key(|port| !port.present);
        ports.truncate(MOST);
        ports.sort();
        ports
    }
}

impl Known {
    fn new(port: DerivedPort, now: Instant) -> Self {
        Self { port, reason: now, occupied: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (Protocol, u16) = (Protocol::Tcp, 8080);

    fn port(present: bool) -> DerivedPort {
        DerivedPort {
            protocol: PLACE.0,
            port: PLACE.1,
            service: "ollama".parse().unwrap(),
            container: Some("web".into()),
            through: "docker-proxy".into(),
            present,
            refused: None,
        }
    }

    fn present() -> Decision {
        Decision { present: vec![port(true)], ..Decision::default() }
    }

    #[test]
    fn a_port_that_vanished_stays_guarded_for_a_while() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        assert_eq!(memory.update(present(), start, |_| false), [port(true)]);
        let mut after = |time| memory.update(Decision::default(), start + time, |_| false);
        assert_eq!(after(Duration::from_secs(61)), [port(false)]);
        assert_eq!(after(LINGER), []);
    }

    #[test]
    fn an_expected_port_stays_as_long_as_it_is_expected() {
        let (start, mut memory) = (Instant::now(), Memory::default());
        let expected = || Decision { expected: vec![port(false)], ..Decision::default() };
        for hours in 0..3 {
            assert_eq!(memory.update(expected(), start + Duration::from_hours(hours), |_| false), [port(false)]);
        }
    }

    #[test]
    fn somebody_elses_port_is_let_go() {
        let (start, mut memory) = (Instant::now(), Memory::of(&[port(true)], Instant::now()));
        assert_eq!(memory.update(Decision::default(), start, |_| true), [port(false)], "it may be the proxy to come");
        assert_eq!(memory.update(present(), start + DOUBT, |_| true), [port(true)], "it was");
        assert_eq!(memory.update(Decision::default(), start + DOUBT, |_| true), [port(false)]);
        assert_eq!(memory.update(Decision::default(), start + 2 * DOUBT, |_| true), []);

        memory.update(present(), start, |_| false);
        let elsewhere = Decision { elsewhere: [PLACE].into(), ..Decision::default() };
        assert_eq!(memory.update(elsewhere, start, |_| true), [], "another container has it");
    }
}
