//! Names in the configuration that cannot do what they seem to: of no interface, or of one whose packets arrive elsewhere.

use std::collections::BTreeSet;

use super::{Finding, Weight, finding};
use crate::links::{Kind, Link, Links};
use crate::observe::text::printable;
use crate::plan::class::{Placement, Placements};
use crate::policy::{InterfaceName, NamePattern, Policy};

const TRUSTED: &str = "trusted";
const ALLOW: &str = "allow";
const ATTACH: &str = "interfaces.attach";

pub(super) fn find(policy: &Policy, links: &Links, placements: &Placements) -> Vec<Finding> {
    let trusted = policy.trusted.iter().filter_map(|pattern| match pattern {
        NamePattern::Exact(name) => Some((TRUSTED, name)),
        NamePattern::Prefix(_) => None,
    });
    let allowed = policy.allow.iter().filter_map(|allow| Some((ALLOW, allow.interface.as_ref()?)));
    let attached = policy.attach.per_interface.keys().map(|name| (ATTACH, name));
    let written: BTreeSet<_> = trusted.chain(allowed).chain(attached).collect();
    let judge = |&(subject, name): &(&'static str, &InterfaceName)| match links.by_name(name) {
        Some(link) => member(policy, links, placements, subject, link),
        None => absent(links, subject, name, |link| written.contains(&(subject, &link.name))),
    };
    written.iter().filter_map(judge).collect()
}

/// A member of a bridge or bond: what it receives arrives on its master.
fn member(policy: &Policy, links: &Links, placements: &Placements, subject: &str, link: &Link) -> Option<Finding> {
    let master = top(links, placements, link)?;
    let opened = subject == TRUSTED && policy.trusted.iter().any(|pattern| pattern.matches(&master.name));
    (subject != ATTACH && !opened).then(|| {
        let (name, kind) = (printable(master.name.as_str()), &master.kind);
        let problem = format!(
            "{} belongs to the {kind} device {name}, where its packets arrive: the name has no effect",
            link.name
        );
        finding(
            Weight::Odd,
            subject,
            problem,
            format!("write \"{name}\" if you mean all that arrives there, or remove it"),
        )
    })
}

/// The interface on which a member's packets arrive; none if it is no member.
fn top<'a>(links: &'a Links, placements: &Placements, link: &Link) -> Option<&'a Link> {
    let master_of = |index| match placements.get(index) {
        Some(Placement::LeftToMaster(master) | Placement::Member { master, .. }) => Some(*master),
        _ => None,
    };
    let mut top = None;
    for _ in 0..links.len() {
        match master_of(top.unwrap_or(link.index)) {
            Some(master) => top = Some(master),
            None => break,
        }
    }
    links.get(top?)
}

/// No interface has this name. A VPN that is down now is nothing to speak of; a slip or another name is.
fn absent(links: &Links, subject: &str, name: &InterfaceName, is_written: impl Fn(&Link) -> bool) -> Option<Finding> {
    let is_named = |link: &&Link| link.raw_name.is_none() && !is_written(link);
    let other = links.iter().filter(is_named).find(|link| link.other_names.contains(name));
    if let Some(link) = other {
        let real = printable(link.name.as_str());
        let problem =
            format!("\"{name}\" is another name of {real}, and matches nothing: the kernel's own name counts");
        return Some(finding(Weight::Odd, subject, problem, format!("write \"{real}\"")));
    }
    // The ends of containers and virtual machines have names that nobody writes.
    let is_lasting = |link: &&Link| !matches!(link.kind, Kind::Veth | Kind::Netkit | Kind::Tap) || link.is_vpn();
    let meant =
        links.iter().filter(is_named).filter(is_lasting).find(|link| is_slip(name.as_str(), link.name.as_str()))?;
    let meant = printable(meant.name.as_str());
    let problem = format!("there is no interface \"{name}\", but one called {meant}");
    Some(finding(Weight::Odd, subject, problem, format!("if you mean that one, write \"{meant}\"")))
}

/// How drivers and programs call their devices: with a number, such a name is no slip of another.
const FAMILIES: [&str; 22] = [
    "bond",
    "br",
    "docker",
    "dummy",
    "eth",
    "lan",
    "nebula",
    "ppp",
    "tailscale",
    "tap",
    "team",
    "tun",
    "usb",
    "utun",
    "virbr",
    "vlan",
    "vmbr",
    "wan",
    "wg",
    "wlan",
    "wt",
    "zt",
];
/// From so many letters on, one that is wrong makes no other word.
const LONG: usize = 8;

/// Was `name` likely written for the other? Numbers tell interfaces apart: `eth1` is not `eth0`.
fn is_slip(name: &str, other: &str) -> bool {
    let (name, other) = (name.to_lowercase(), other.to_lowercase());
    if alike(&name) == alike(&other) {
        return true;
    }
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let sorted = |text: &str| {
        let mut all: Vec<_> = text.chars().collect();
        all.sort_unstable();
        all
    };
    let (number, word) = (digits(&name), letters(&name));
    if number.is_empty() {
        // `eth` for `eth0`
        return word == letters(&other) && digits(&other).len() == 1;
    }
    // A letter too much, too few or out of its place; in long words also a wrong one.
    let is_near = strsim::damerau_levenshtein(&name, &other) == 1
        && (name.len() != other.len() || sorted(&name) == sorted(&other) || word.len() >= LONG);
    number == digits(&other) && !FAMILIES.contains(&word.as_str()) && is_near
}

/// With one character for those that look alike.
fn alike(text: &str) -> String {
    let one = |c| match c {
        'o' => '0',
        'l' | 'i' => '1',
        other => other,
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_interface() {
        for (written, there) in [
            ("eht0", "eth0"),
            ("etth0", "eth0"),
            ("th0", "eth0"),
            ("eth", "eth0"),
            ("ethO", "eth0"),
            ("Eth0", "eth0"),
            ("l0", "lo"),
            ("epn3s0", "enp3s0"),
            ("tailscal0", "tailscale0"),
            ("tailscele0", "tailscale0"),
            ("gw0", "wg0"),
        ] {
            assert!(is_slip(written, there), "{written} {there}");
        }
        for (written, there) in [
            ("wg0", "wt0"),
            ("wg0", "wg1"),
            ("tailscale0", "eth0"),
            ("eth1", "eth0"),
            ("enp4s0", "enp3s0"),
            ("lan0", "wlan0"),
            ("lan0", "wan0"),
            ("tun0", "utun0"),
            ("eth0", "veth0"),
            ("wlan0", "vlan0"),
            ("br-lan0", "br-wan0"),
            ("wg", "eth0"),
        ] {
            assert!(!is_slip(written, there), "{written} {there}");
        }
    }
}
