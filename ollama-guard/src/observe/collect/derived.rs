//! Derived ports that are not guarded: too new for the daemon, or too dangerous.

use crate::datapath::State;
use crate::derived::{self, DerivedPort, Unknown};
use crate::observe::snapshot::{Problem, Severity};
use crate::policy::Mode;

/// Looks at the host, and compares with what was written down as guarded.
pub(super) fn problems(state: &State) -> Vec<Problem> {
    if state.policy.mode == Mode::Observe {
        return Vec::new();
    }
    let found = derived::look(&state.policy.services);
    compare(&state.derived, &found.ports).into_iter().chain(found.unknown.iter().map(unknown)).collect()
}

/// It may lead to a guarded port, and most lead elsewhere: no reason to say that enforcement is partial.
fn unknown(one: &Unknown) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: one.subject(),
        problem: one.to_string(),
        next_step: one.next_step(),
    }
}

fn compare(known: &[DerivedPort], found: &[DerivedPort]) -> Vec<Problem> {
    let new = found.iter().filter(|port| !known.iter().any(|known| known.same_port(port)));
    let gap = |port: &DerivedPort, problem, next_step| Problem {
        severity: Severity::Gap,
        subject: format!("{} {}", port.protocol, port.port),
        problem,
        next_step,
    };
    let unguarded = new.filter(|port| port.refused.is_none()).map(|port| {
        let problem = format!("{port} is not guarded yet");
        let next = "the daemon looks every second while containers run, else every 30 s; if it stays, see its log: \
                    journalctl -u ollama-guard";
        gap(port, problem, next.to_owned())
    });
    let refused = known.iter().filter_map(|port| {
        let why = port.refused.as_ref()?;
        let problem = format!("{port} is OPEN: guarding it could lock you out ({why})");
        Some(gap(port, problem, "publish the container on another port".to_owned()))
    });
    unguarded.chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Protocol;

    fn port(port: u16, refused: Option<&str>) -> DerivedPort {
        DerivedPort {
            protocol: Protocol::Tcp,
            port,
            addresses: [[0; 4].into()].into(),
            service: "ollama".parse().unwrap(),
            container: Some("web".into()),
            through: "docker-proxy".into(),
            present: true,
            user: 0,
            expected: false,
            refused: refused.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_not_guarded_is_named() {
        let problems =
            compare(&[port(8080, None), port(22, Some("it is SSH's"))], &[port(8080, None), port(9090, None)]);
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, ["tcp 9090", "tcp 22"]);
        assert!(problems[1].problem.contains("SSH"), "{problems:?}");
    }
}
