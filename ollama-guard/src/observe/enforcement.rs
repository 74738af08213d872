//! Is the port closed? Computed from what was read, in one place, for every face.
//!
//! The rule: enforcement is full if everything the policy asks for is in the kernel, and it asks to enforce. A
//! layer that the configuration switches off is not asked for; that is said loudly, but is not a gap.

use super::snapshot::{Attachment, Problem, SeatbeltState, Severity, Snapshot};
use super::text::printable;
use crate::class::Class;
use crate::policy::Mode;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Every packet that the policy refuses is dropped.
    Full,
    /// Some might get through; [`problems`] says which.
    Partial,
    /// The policy only counts, because it says so.
    Observing,
    /// Nothing is enforced.
    Absent,
}

impl Enforcement {
    /// `enforcing` in JSON and metrics, and exit code 0 of `status`.
    pub const fn is_full(self) -> bool {
        matches!(self, Self::Full)
    }
}

/// What the snapshot amounts to.
pub fn enforcement(snapshot: &Snapshot) -> Enforcement {
    let attached = snapshot.interfaces.iter().any(|i| matches!(i.attachment, Attachment::Attached { .. }));
    // A host that has no interface yet wants no program yet.
    let wanted = snapshot.interfaces.iter().any(|i| matches!(i.attachment, Attachment::Missing(_)));
    let table = matches!(snapshot.seatbelt.state, SeatbeltState::Intact | SeatbeltState::Altered(_));
    if snapshot.services.is_empty()
        || !(attached || table) && (wanted || !snapshot.layers.wall || snapshot.layers.seatbelt)
    {
        Enforcement::Absent
    } else if snapshot.mode == Mode::Observe {
        Enforcement::Observing
    } else if problems(snapshot).iter().any(|problem| problem.severity == Severity::Gap) {
        Enforcement::Partial
    } else {
        Enforcement::Full
    }
}

/// Everything wrong, the worst first: what the reader found and what follows from the rest of the snapshot.
pub fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let found = snapshot.problems.iter().cloned();
    if snapshot.services.is_empty() {
        let next = snapshot.init.start();
        let absent = problem(Severity::Gap, "policy", "no policy is loaded; no port is closed", next);
        return sorted(found.chain([absent]).collect());
    }
    sorted(found.chain(layers(snapshot)).chain(walls(snapshot)).chain(seatbelt(snapshot)).collect())
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

fn problem(severity: Severity, subject: &str, problem: impl Into<String>, next_step: impl Into<String>) -> Problem {
    Problem { severity, subject: subject.to_owned(), problem: problem.into(), next_step: next_step.into() }
}

fn layers(snapshot: &Snapshot) -> Vec<Problem> {
    let off = |key: &str, what: &str, consequence: &str| {
        let words = format!("the {what} layer is switched off by `{key} = false`: {consequence}");
        let next = format!("set {key} = true in {} and reload", snapshot.config.display());
        problem(Severity::Warning, "configuration", words, next)
    };
    let mut problems = Vec::new();
    if !snapshot.layers.wall {
        problems.push(off("wall", "eBPF", "only nftables closes the port, and sources are not counted"));
    }
    if !snapshot.layers.seatbelt {
        let consequence = "ports that Docker maps elsewhere, and interfaces in the instant they appear, are OPEN";
        problems.push(off("seatbelt", "nftables", consequence));
    }
    if snapshot.reloading {
        let words = "reloading: a changed configuration is coming into force; until then the old one is";
        problems.push(problem(Severity::Warning, "configuration", words, "nothing: it is a matter of moments"));
    }
    if !snapshot.daemon {
        let words = "the daemon is not running: new interfaces and outside changes are not handled";
        problems.push(problem(Severity::Warning, "daemon", words, format!("start it: {}", snapshot.init.start())));
    }
    problems
}

fn walls(snapshot: &Snapshot) -> Vec<Problem> {
    let covered = snapshot.layers.seatbelt && snapshot.seatbelt.state == SeatbeltState::Intact;
    let rest = if covered { "; nftables still covers it" } else { "; the port may be OPEN there" };
    if let Some(why) = &snapshot.wall_failure {
        let words = format!("the eBPF layer is not in place: {why}{rest}");
        return vec![problem(Severity::Gap, "eBPF", words, restart(snapshot))];
    }
    let missing = snapshot.interfaces.iter().filter(|_| snapshot.layers.wall).filter_map(|interface| {
        let Attachment::Missing(why) = &interface.attachment else { return None };
        let words =
            format!("no eBPF program is attached: {why}{}", if interface.class == Class::Trusted { "" } else { rest });
        // On a trusted interface the program only counts.
        let severity = if interface.class == Class::Trusted { Severity::Warning } else { Severity::Gap };
        Some(problem(severity, &printable(&interface.name), words, restart(snapshot)))
    });
    missing.collect()
}

fn seatbelt(snapshot: &Snapshot) -> Option<Problem> {
    if !snapshot.layers.seatbelt {
        return None;
    }
    let words = match &snapshot.seatbelt.state {
        SeatbeltState::Intact => return None,
        SeatbeltState::Altered(what) => format!("the table inet ollama_guard was changed: {what}"),
        SeatbeltState::Missing => "the table inet ollama_guard is not there".to_owned(),
        SeatbeltState::Unknown(why) => format!("the table inet ollama_guard could not be read: {why}"),
    };
    Some(problem(Severity::Gap, "nftables", words, restart(snapshot)))
}

fn restart(snapshot: &Snapshot) -> String {
    if snapshot.daemon {
        format!("the daemon retries within 30 s; if it stays, see {}", snapshot.init.log())
    } else {
        format!("start the daemon, which repairs it: {}", snapshot.init.start())
    }
}

#[cfg(test)]
mod tests;
