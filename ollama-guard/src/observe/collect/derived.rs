//! Derived ports that are not guarded, because that is too dangerous, and proxies that nobody knows the way of.

use crate::datapath::State;
use crate::derived::{DerivedPort, Unknown};
use crate::observe::snapshot::{Problem, Severity};
use crate::policy::Mode;

/// What the daemon wrote down. Nothing is looked up here: others could make that last.
pub(super) fn problems(state: &State) -> Vec<Problem> {
    if state.policy.mode == Mode::Observe {
        return Vec::new();
    }
    state.derived.iter().filter_map(refused).chain(state.unknown.iter().map(unknown)).collect()
}

fn refused(port: &DerivedPort) -> Option<Problem> {
    let why = port.refused.as_ref()?;
    Some(Problem {
        severity: Severity::Gap,
        subject: format!("{} {}", port.protocol, port.port),
        problem: format!("{port} is OPEN: guarding it could lock you out ({why})"),
        next_step: "publish the container on another port".to_owned(),
    })
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
        assert_eq!(refused(&port(8080, None)), None);
        let problem = refused(&port(22, Some("it is SSH's"))).unwrap();
        assert!(problem.subject == "tcp 22" && problem.problem.contains("SSH"), "{problem:?}");
    }
}
