//! `[[allow]]` entries that let in more than was meant, or nobody.

use ipnet::IpNet;

use super::{Finding, Weight, finding, span};
use crate::policy::{Allow, ContainerAccess, NamePattern, PRIVATE_SOURCES, Policy};

const SUBJECT: &str = "allow";
const NAME_THEM: &str = "name the addresses you mean";

pub(super) fn find(policy: &Policy) -> Vec<Finding> {
    let mut found: Vec<_> = policy.allow.iter().filter_map(|allow| single(allow, policy)).collect();
    let everyone = |source: &IpNet| source.prefix_len() == 0;
    if !policy.allow.iter().any(|allow| everyone(&allow.source))
        && span::is_most(policy.allow.iter().map(|allow| allow.source))
    {
        let problem = "the sources together are most of the internet: this opens the port";
        found.push(finding(Weight::Opens, SUBJECT, problem, NAME_THEM));
    }
    found.extend(duplicates(&policy.allow));
    found
}

fn single(allow: &Allow, policy: &Policy) -> Option<Finding> {
    let source = allow.source;
    if source.prefix_len() == 0 {
        return Some(finding(Weight::Opens, SUBJECT, format!("{source} is everyone: this opens the port"), NAME_THEM));
    }
    let private = PRIVATE_SOURCES.iter().any(|private| private.contains(&source));
    let (wide, bits) = if source.addr().is_ipv4() { (8, "16 million addresses") } else { (19, "whole providers") };
    if !private && source.prefix_len() <= wide {
        return Some(finding(Weight::Odd, SUBJECT, format!("{source} lets {bits} in"), NAME_THEM));
    }
    let name = allow.interface.as_ref()?;
    let of = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
    if of(&policy.trusted) {
        let problem = format!("{source} on {name} does nothing: {name} is trusted anyway");
        return Some(finding(Weight::Odd, SUBJECT, problem, "remove one of the two"));
    }
    (policy.container_access == ContainerAccess::Allow && of(&policy.containers)).then(|| {
        let problem = format!("{source} on {name} does nothing: container_access = \"allow\" lets all containers in");
        finding(Weight::Odd, SUBJECT, problem, "remove one of the two")
    })
}

fn duplicates(allows: &[Allow]) -> Option<Finding> {
    // A profile's own say less than the same ones written down: nothing of containers.
    let rule = |allow: &Allow| (allow.implied, allow.source, allow.interface.clone(), allow.service.clone());
    let mut rules: Vec<_> = allows.iter().map(rule).collect();
    rules.sort();
    let double = rules.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(finding(Weight::Odd, SUBJECT, format!("{} is written more than once", double[0].1), "remove the copies"))
}
