//! Derived ports that are not guarded, because that is too dangerous, and proxies that nobody knows the way of.

use crate::datapath::State;
use crate::derived::{DerivedPort, SilentProxy};
use crate::observe::snapshot::{Problem, Severity};
use crate::policy::Mode;

/// What the daemon wrote down. Nothing is looked up here: others could make that last.
pub(super) fn problems(state: &State) -> Vec<Problem> {
    if state.policy.mode == Mode::Observe {
        return Vec::new();
    }
    state.derived.iter().filter_map(refused).chain(state.silent.iter().map(silent)).collect()
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
fn silent(proxy: &SilentProxy) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: format!("{} {}", proxy.protocol, proxy.port),
        problem: format!("{proxy} does not say where it leads: if to a guarded port, that is OPEN"),
        next_step: format!(
            "let Podman's service answer: systemctl --user enable --now podman.socket, as user {}; or publish with \
             --network=pasta",
            proxy.user
        ),
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
            service: "ollama".parse().unwrap(),
            container: Some("web".into()),
            through: "docker-proxy".into(),
            present: true,
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
