//! Which hook the wall tries on an interface, and why (pure).

mod reason;
#[cfg(test)]
mod tests;

use std::fmt;

pub use reason::HookReason;
use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::links::{Hardware, Kind, Link, Links};
use crate::policy::{Attach, AttachPolicy};

/// Where a program can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network core.
    XdpGeneric,
    /// Traffic control through a BPF link (kernel 6.6 and later).
    Tcx,
    /// Traffic control through a filter on the clsact qdisc.
    Clsact,
}

impl Hook {
    /// Status column, metric label, JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// The label of a hook, or `none` where nothing is attached.
    pub const fn label(hook: Option<Self>) -> &'static str {
        match hook {
            Some(hook) => hook.as_str(),
            None => "none",
        }
    }

    /// One of the two traffic control hooks?
    pub const fn is_tc(self) -> bool {
        matches!(self, Self::Tcx | Self::Clsact)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The hooks to try in turn, and why these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// In order; never empty, and always ends with traffic control, which every interface has.
    pub candidates: Vec<Hook>,
    /// For `status`.
    pub why: HookReason,
}

const TC: [Hook; 2] = [Hook::Tcx, Hook::Clsact];
const CLSACT: [Hook; 2] = [Hook::Clsact, Hook::Tcx];

impl Choice {
    /// For an interface of this class. `ours` knows the XDP programs that this guard attached.
    pub fn new(policy: &AttachPolicy, links: &Links, link: &Link, class: Class, ours: &dyn Fn(u32) -> bool) -> Self {
        let wanted = policy.for_interface(&link.name);
        match wanted {
            Attach::Tc => return Self::tc(HookReason::Configured),
            Attach::Clsact => return Self { candidates: CLSACT.to_vec(), why: HookReason::Configured },
            Attach::Auto | Attach::Xdp | Attach::XdpGeneric => {}
        }
        // Their programs count and hardly ever drop: XDP would cost bulk traffic and win nothing.
        if class != Class::Guarded {
            return Self::tc(HookReason::Counting(class));
        }
        if let Some(obstacle) = obstacle(links, link, ours) {
            return Self::tc(obstacle);
        }
        match wanted {
            Attach::Xdp => Self::xdp(Hook::XdpNative, HookReason::Configured),
            Attach::XdpGeneric => Self::xdp(Hook::XdpGeneric, HookReason::Configured),
            _ if is_plain_nic(link) => Self::xdp(Hook::XdpNative, HookReason::PhysicalNic),
            _ => Self::tc(HookReason::NotPhysical(link.kind.clone())),
        }
    }

    fn tc(why: HookReason) -> Self {
        Self { candidates: TC.to_vec(), why }
    }

    fn xdp(hook: Hook, why: HookReason) -> Self {
        Self { candidates: [hook].into_iter().chain(TC).collect(), why }
    }
}

/// What makes XDP blind, or harmful to others, on this interface whatever the configuration says.
fn obstacle(links: &Links, link: &Link, ours: &dyn Fn(u32) -> bool) -> Option<HookReason> {
    if let Hardware::Other(_) = link.hardware {
        return Some(HookReason::LayerThree);
    }
    // A NIC strips the VLAN tag before XDP runs, and a macvlan's frames bear another address: XDP here would
    // judge what belongs to the interface on top.
    if let Some(top) = links.stacked_on(link.index).find(|top| top.kind.shares_lower()) {
        return Some(HookReason::HasOnTop { name: top.name.clone(), kind: top.kind.clone() });
    }
    // A synthetic NIC with a hardware one behind it (Hyper-V): its driver hands the program on to the other.
    if link.kind == Kind::Physical
        && let Some(member) = links.members_of(link.index).next()
    {
        return Some(HookReason::HasMember(member.name.clone()));
    }
    let foreign = link.xdp.iter().find(|attached| !ours(attached.program_id));
    foreign.map(|attached| HookReason::ForeignXdp(attached.program_id))
}

/// A parent device and no kind: not a veth, bond, bridge, tun, or a switch's port.
fn is_plain_nic(link: &Link) -> bool {
    link.physical && link.kind == Kind::Physical
}
