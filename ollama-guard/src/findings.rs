//! What is valid and yet leaves a guarded port open, or is probably not meant: facts × policy → findings.
//!
//! Pure, and the only place that decides it: `check`, `status`, its JSON, the metrics and the log show what is found here.
//! A finding does not mean that enforcement is partial: the kernel does what the policy asks for.

mod allows;
mod host;
mod names;
mod private;
mod span;
#[cfg(test)]
mod tests;
mod vpn;

use std::fmt;

pub use host::{Host, Traffic, of_host};
pub use private::{TurnedAway, turned_away};
use serde::{Deserialize, Serialize};

use crate::config::lockout::{self, Spared};
use crate::links::Link;
use crate::policy::{Forwarded, InterfaceName, Mode, NamePattern, OLLAMA, Policy, Protocol};

/// One thing that its user should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// The key of the configuration, or the interface.
    pub subject: String,
    /// What is found, in words.
    pub problem: String,
    /// What to do about it.
    pub next_step: String,
}

/// How much a finding matters. What matters most sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// A port that people expect to be closed is open to strangers, or may be.
    Opens,
    /// Probably not meant.
    Odd,
    /// As good as any other choice, and perhaps not what is wanted.
    Hint,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.subject, self.problem, self.next_step)
    }
}

fn finding(weight: Weight, subject: &str, problem: impl Into<String>, next_step: impl Into<String>) -> Finding {
    Finding { weight, subject: subject.to_owned(), problem: problem.into(), next_step: next_step.into() }
}

/// Can this link's name stand in quotes in the configuration, and mean this link alone?
fn spellable(link: &Link) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '*');
    link.raw_name.is_none() && link.name.as_str().chars().all(plain)
}

/// How the names of network cards, and of bonds over them, begin (systemd.net-naming-scheme(7)).
const PHYSICAL: [&str; 5] = ["eth", "en", "wl", "ww", "bond"];

/// What the policy says about itself.
pub fn of_policy(policy: &Policy) -> Vec<Finding> {
    let mut found: Vec<_> = ollama(policy).into_iter().collect();
    found.extend(policy.trusted.iter().filter_map(trusted));
    let covers_loopback = |name: InterfaceName| policy.trusted.iter().any(|pattern| pattern.matches(&name));
    if !"lo".parse().is_ok_and(covers_loopback) {
        let problem = "has no \"lo\": programs on this machine cannot reach the guarded ports";
        found.push(finding(Weight::Odd, "trusted", problem, "add \"lo\""));
    }
    if policy.forwarded == Forwarded::Pass {
        let problem = "\"pass\" also passes packets sent straight to a container's own address";
        found.push(finding(Weight::Odd, "forwarded", problem, "use \"drop\" unless this machine is a router"));
    }
    found.extend(allows::find(policy));
    found
}

/// What switches enforcement off, in part or in whole. `status` says so in its first lines, and needs no finding for it.
pub fn of_switches(policy: &Policy) -> Vec<Finding> {
    let observing = (policy.mode == Mode::Observe).then(|| {
        let next = "set it to \"enforce\" when you have seen enough";
        finding(Weight::Opens, "mode", "\"observe\" drops nothing", next)
    });
    let off = match (policy.layers.wall, policy.layers.seatbelt) {
        (true, true) => None,
        (true, false) => {
            let problem =
                "switched off: ports that Docker maps elsewhere, and interfaces in the instant they appear, are open";
            Some(finding(Weight::Opens, "seatbelt", problem, "set it to true"))
        }
        (false, true) => {
            let problem = "switched off: only nftables closes the port, and sources are not counted";
            Some(finding(Weight::Odd, "wall", problem, "set it to true"))
        }
        (false, false) => {
            let problem = "both are switched off: nothing is guarded";
            Some(finding(Weight::Opens, "wall, seatbelt", problem, "set both to true"))
        }
    };
    observing.into_iter().chain(off).collect()
}

/// A port that stays open because people get into this host by it.
pub fn of_spared(spared: &Spared) -> Finding {
    finding(Weight::Opens, "service", spared.to_string(), lockout::INSIST)
}

/// Everybody who installs a guard for Ollama expects this port to be closed.
fn ollama(policy: &Policy) -> Option<Finding> {
    if policy.services.iter().any(|service| service.covers(Protocol::Tcp, OLLAMA)) {
        return None;
    }
    let (why, next_step) = if policy.ollama {
        ("the service \"ollama\" lists other ports".to_owned(), format!("add {OLLAMA} to its ports"))
    } else {
        ("ollama = false".to_owned(), "remove that line, unless no Ollama listens there".to_owned())
    };
    Some(finding(Weight::Opens, "ollama", format!("ollama's port {OLLAMA} is not guarded: {why}"), next_step))
}

fn trusted(pattern: &NamePattern) -> Option<Finding> {
    let physical = match pattern {
        NamePattern::Prefix(prefix) if prefix.is_empty() => {
            let problem = "\"*\" trusts every interface: the guarded ports are open to everyone";
            return Some(finding(Weight::Opens, "trusted", problem, "name the VPN's interfaces instead"));
        }
        NamePattern::Prefix(prefix) => PHYSICAL.iter().any(|p| p.starts_with(prefix) || prefix.starts_with(p)),
        NamePattern::Exact(name) => PHYSICAL.iter().any(|p| name.as_str().starts_with(p)),
    };
    physical.then(|| {
        let problem = format!("\"{pattern}\" covers a network card: everyone on its network reaches the guarded ports");
        let next_step = "name the VPN's interfaces, or use [[allow]] for single addresses";
        finding(Weight::Odd, "trusted", problem, next_step)
    })
}
