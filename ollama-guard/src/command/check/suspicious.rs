//! What is valid and yet probably not meant.

use std::ops::RangeInclusive;

use crate::policy::{Allow, ContainerAccess, Forwarded, InterfaceName, Mode, NamePattern, PRIVATE_SOURCES, Policy};

/// How the names of network cards, and of bonds over them, begin (systemd.net-naming-scheme(7)).
const PHYSICAL: [&str; 5] = ["eth", "en", "wl", "ww", "bond"];

/// Warnings, each with what to do. `local_ports` is the range from which Linux picks ports for outgoing
/// connections, if it could be read.
pub fn suspicious(policy: &Policy, local_ports: Option<RangeInclusive<u16>>) -> Vec<String> {
    let mut warnings = Vec::new();
    if policy.mode == Mode::Observe {
        warnings.push("mode = \"observe\" drops nothing; set it to \"enforce\" when you have seen enough".to_owned());
    }
    warnings.extend(layers(policy));
    warnings.extend(policy.trusted.iter().filter_map(trusted));
    let covers_loopback = |name: InterfaceName| policy.trusted.iter().any(|pattern| pattern.matches(&name));
    if !"lo".parse().is_ok_and(covers_loopback) {
        let words = "`trusted` has no \"lo\": programs on this very machine cannot reach the guarded ports; add \"lo\"";
        warnings.push(words.to_owned());
    }
    if policy.forwarded == Forwarded::Pass {
        let words = "forwarded = \"pass\" also passes what is sent straight to a container's own address; \
                     use \"drop\" unless this machine is a router";
        warnings.push(words.to_owned());
    }
    warnings.extend(policy.allow.iter().filter_map(|allow| self::allow(allow, policy)));
    warnings.extend(duplicates(&policy.allow));
    warnings.extend(local_ports.and_then(|range| ephemeral(policy, &range)));
    warnings
}

fn layers(policy: &Policy) -> Option<String> {
    let words = match (policy.layers.wall, policy.layers.seatbelt) {
        (true, true) => return None,
        (true, false) => {
            "seatbelt = false: ports that Docker maps elsewhere, and interfaces in the instant they appear, are open; \
             set it to true"
        }
        (false, true) => "wall = false: only nftables closes the port, and sources are not counted; set it to true",
        (false, false) => "wall = false and seatbelt = false: nothing is guarded at all; set both to true",
    };
    Some(words.to_owned())
}

fn trusted(pattern: &NamePattern) -> Option<String> {
    let physical = match pattern {
        NamePattern::Prefix(prefix) if prefix.is_empty() => {
            let words = "trusted = \"*\" trusts every interface: nothing is guarded; name the VPN's interfaces instead";
            return Some(words.to_owned());
        }
        NamePattern::Prefix(prefix) => PHYSICAL.iter().any(|p| p.starts_with(prefix) || prefix.starts_with(p)),
        NamePattern::Exact(name) => PHYSICAL.iter().any(|p| name.as_str().starts_with(p)),
    };
    physical.then(|| {
        format!(
            "trusted = \"{pattern}\" covers a network card: everybody whose packets arrive there reaches the guarded \
             ports; name the VPN's interfaces, or use [[allow]] for single addresses"
        )
    })
}

fn allow(allow: &Allow, policy: &Policy) -> Option<String> {
    let source = allow.source;
    if source.prefix_len() == 0 {
        return Some(format!("[[allow]] {source} is everybody: this opens the port; name the addresses you mean"));
    }
    let private = PRIVATE_SOURCES.iter().any(|private| private.contains(&source));
    let (wide, bits) = if source.addr().is_ipv4() { (8, "16 million addresses") } else { (19, "whole providers") };
    if !private && source.prefix_len() <= wide {
        return Some(format!("[[allow]] {source} lets {bits} in; name the addresses you mean"));
    }
    let name = allow.interface.as_ref()?;
    let of = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
    if of(&policy.trusted) {
        return Some(format!(
            "[[allow]] {source} on {name} does nothing: {name} is trusted anyway; remove one of the two"
        ));
    }
    (policy.container_access == ContainerAccess::Allow && of(&policy.containers)).then(|| {
        format!(
            "[[allow]] {source} on {name} does nothing: container_access = \"allow\" lets all containers in; remove one of \
             the two"
        )
    })
}

fn duplicates(allows: &[Allow]) -> Option<String> {
    let rule = |allow: &Allow| (allow.source, allow.interface.clone(), allow.service.clone());
    let mut rules: Vec<_> = allows.iter().map(rule).collect();
    rules.sort();
    let double = rules.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(format!("[[allow]] {} is written more than once; remove the copies", double[0].0))
}

/// The service cannot listen on a port that a connection of this machine's has. And answers to that pass only where its start
/// was seen: not before Linux 6.6, not of UDP, not from before the guard.
fn ephemeral(policy: &Policy, range: &RangeInclusive<u16>) -> Option<String> {
    let mut ports = policy.services.iter().flat_map(|service| &service.ports);
    let port = ports.find(|port| range.contains(&port.get()))?;
    Some(format!(
        "port {port} is one that Linux picks for outgoing connections ({} to {}), which may then miss \
         their answers; keep it for the service: sysctl -w net.ipv4.ip_local_reserved_ports={port}",
        range.start(),
        range.end()
    ))
}
