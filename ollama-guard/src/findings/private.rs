//! A private address that is turned away: perhaps a device of the one who reads this.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::host::{Host, Traffic};
use super::spellable;
use crate::class::Class;
use crate::links::Link;
use crate::plan::class::Placement;
use crate::policy::{Forwarded, InterfaceName, PRIVATE_SOURCES, Policy};

/// The private address with the most refused packets, and what could be done for it on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedAway {
    /// The address.
    pub source: IpAddr,
    /// The guarded interface on which its packets arrived.
    pub interface: InterfaceName,
    /// Its packets that were dropped, or would have been in observe mode.
    pub packets: u64,
    /// How many further private addresses there are, each counted per interface.
    pub others: u64,
    /// A trusted VPN that is there.
    pub vpn: Option<InterfaceName>,
    /// A VPN to which this host may be routing its packets (a subnet router), which `forwarded` decides.
    pub routed_to: Option<InterfaceName>,
}

/// Looks through the refused packets, which are sorted by source and interface.
pub fn turned_away(policy: &Policy, host: &Host<'_>, refused: impl Iterator<Item = Traffic>) -> Option<TurnedAway> {
    let (mut most, mut sources): (Option<Traffic>, u64) = (None, 0);
    let mut sum: Option<Traffic> = None;
    for one in refused.filter(|one| judged(policy, host, *one).is_some()) {
        match &mut sum {
            Some(sum) if (sum.source, sum.interface) == (one.source, one.interface) => sum.packets += one.packets,
            _ => {
                sources += 1;
                sum = Some(one);
            }
        }
        most = most.into_iter().chain(sum).max_by_key(|traffic| traffic.packets);
    }
    let most = most?;
    let link = judged(policy, host, most)?;
    let vpns = || host.links.iter().filter(|link| link.is_vpn() && link.up && spellable(link));
    let is_trusted =
        |link: &&Link| matches!(host.placements.get(link.index), Some(Placement::Attach(Class::Trusted, _)));
    let routes = policy.forwarded == Forwarded::Drop && link.forwards;
    Some(TurnedAway {
        source: most.source,
        interface: link.name.clone(),
        packets: most.packets,
        others: sources - 1,
        vpn: vpns().find(is_trusted).map(|link| link.name.clone()),
        routed_to: vpns().find(|vpn| routes && vpn.index != link.index).map(|link| link.name.clone()),
    })
}

/// The guarded interface of a private source that no `[[allow]]` admits by now.
fn judged<'a>(policy: &Policy, host: &Host<'a>, traffic: Traffic) -> Option<&'a Link> {
    if !PRIVATE_SOURCES.iter().any(|net| net.contains(&traffic.source)) {
        return None;
    }
    let link = host.links.get(traffic.interface).filter(|link| spellable(link))?;
    let is_guarded = matches!(host.placements.get(link.index), Some(Placement::Attach(Class::Guarded, _)));
    let is_here = |interface: &Option<InterfaceName>| interface.as_ref().is_none_or(|name| *name == link.name);
    let allowed = policy.allow.iter().any(|allow| allow.source.contains(&traffic.source) && is_here(&allow.interface));
    (is_guarded && !allowed).then_some(link)
}
