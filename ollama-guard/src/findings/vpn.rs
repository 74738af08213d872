//! VPN interfaces that are guarded: a program's own name for its device may be missing under `trusted`.

use super::host::Host;
use super::{Finding, Weight, finding, span, spellable};
use crate::class::Class;
use crate::links::Link;
use crate::observe::text::{grouped, joined};
use crate::plan::class::Placement;
use crate::policy::Policy;

/// Names in one line of advice.
const MOST: usize = 4;

/// Says the line to write. Trust is never given by itself, and not proposed for what carries the default route: there
/// everybody is at the other end.
pub(super) fn untrusted(policy: &Policy, host: &Host<'_>) -> Option<Finding> {
    let found: Vec<&Link> = host.links.iter().filter(|link| is_candidate(host, link)).collect();
    let shown = &found[..found.len().min(MOST)];
    let names = joined(shown.iter().map(|link| &link.name), ", ");
    let more = match found.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {} more", grouped(more as u64)),
    };
    let patterns = policy.trusted.iter().map(ToString::to_string);
    let line =
        joined(patterns.chain(shown.iter().map(|link| link.name.to_string())).map(|name| format!("\"{name}\"")), ", ");
    let (verb, one) =
        if found.len() == 1 { ("is a VPN interface", "that VPN") } else { ("are VPN interfaces", "these VPNs") };
    (!found.is_empty()).then(|| {
        let problem = format!("{names}{more} {verb} and not trusted: packets from there are dropped");
        let next_step =
            format!("if everyone on {one} may use the guarded ports, write under [interfaces]: trusted = [{line}]");
        finding(Weight::Hint, "trusted", problem, next_step)
    })
}

fn is_candidate(host: &Host<'_>, link: &Link) -> bool {
    link.is_vpn()
        && link.up
        && spellable(link)
        && matches!(host.placements.get(link.index), Some(Placement::Attach(Class::Guarded, _)))
        && !span::is_most(host.routes.over(link.index).iter().copied())
}
