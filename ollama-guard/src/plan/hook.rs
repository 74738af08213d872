//! Which hook the wall tries on an interface, and why (pure).

mod reason;
#[cfg(test)]
mod tests;

use std::fmt;

pub use reason::HookReason;
use serde::{Deserialize, Serialize};

use crate::class::Class;
use crate::links::{Hardware, Kind, Link, Links};
use crate::policy::{Attach, AttachPolicy, InterfaceName};

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
    /// XDP would neither be blind nor harm anybody here.
    pub suits_xdp: bool,
}

const TC: [Hook; 2] = [Hook::Tcx, Hook::Clsact];
const CLSACT: [Hook; 2] = [Hook::Clsact, Hook::Tcx];

impl Choice {
    /// For an interface of this class. `ours` knows the XDP programs that this guard attached.
    pub fn new(policy: &AttachPolicy, links: &Links, link: &Link, class: Class, ours: &dyn Fn(u32) -> bool) -> Self {
        let wanted = policy.for_interface(&link.name);
        let obstacle = obstacle(links, link, ours);
        let suits_xdp = obstacle.is_none();
        let choice = |candidates: &[Hook], why| Self { candidates: candidates.to_vec(), why, suits_xdp };
        match wanted {
            Attach::Tc => return choice(&TC, HookReason::Configured),
            Attach::Clsact => return choice(&CLSACT, HookReason::Configured),
            Attach::Auto | Attach::Xdp | Attach::XdpGeneric => {}
        }
        // Their programs count and hardly ever drop: XDP would cost bulk traffic and win nothing.
        if class != Class::Guarded {
            return choice(&TC, HookReason::Counting(class));
        }
        if let Some(obstacle) = obstacle {
            return choice(&TC, obstacle);
        }
        let xdp = |hook, why| choice(&[hook, Hook::Tcx, Hook::Clsact], why);
        match wanted {
            Attach::Xdp => xdp(Hook::XdpNative, HookReason::Configured),
            Attach::XdpGeneric => xdp(Hook::XdpGeneric, HookReason::Configured),
            _ if !is_plain_nic(link) => choice(&TC, HookReason::NotPhysical(link.kind.clone())),
            _ if !keeps_its_mtus(link) => choice(&TC, HookReason::ForbidsMtus),
            _ => xdp(Hook::XdpNative, HookReason::PhysicalNic),
        }
    }

    /// For a member of a bridge, bond or team, of whose frames few are judged there. Never XDP: it would cost all the others.
    pub fn member(policy: &AttachPolicy, link: &Link, master: &InterfaceName) -> Self {
        let candidates: &[Hook] = match policy.for_interface(&link.name) {
            Attach::Clsact => &CLSACT,
            // nftables has to do on kernels before 6.6.
            _ if link.kind.is_shaped_by_its_maker() => &[Hook::Tcx],
            _ => &TC,
        };
        Self { candidates: candidates.to_vec(), why: HookReason::Member(master.clone()), suits_xdp: false }
    }

    /// The hooks to try while the place of the qdisc is left to whoever removed it. `alone`: there is no other layer, so that
    /// the place is not left to anybody if no other hook will do.
    pub fn giving_way(&self, alone: bool) -> Vec<Hook> {
        let others = self.candidates.iter().copied().filter(|hook| *hook != Hook::Clsact);
        let generic = Some(Hook::XdpGeneric).filter(|hook| self.suits_xdp && !self.candidates.contains(hook));
        others.chain(generic).chain(Some(Hook::Clsact).filter(|_| alone)).collect()
    }
}

/// Most that a device may take as its MTU for every driver with XDP to take it too: a frame in one page of 4,096 bytes, less
/// `XDP_PACKET_HEADROOM` (256), `struct skb_shared_info` (320), an Ethernet header and two VLAN tags. (`veth_xdp_set`,
/// `drivers/net/veth.c`, allows 3,506, without the tags; `ENA_XDP_MAX_MTU`, `drivers/net/ethernet/amazon/ena/ena_netdev.h`,
/// 3,498.)
const SINGLE_PAGE: u32 = 4096 - 256 - 320 - 14 - 2 * 4;

/// Could every MTU that the device may be set to still be set with native XDP? Without room for it in one buffer drivers
/// refuse a longer one (`igb_change_mtu`, `drivers/net/ethernet/intel/igb/igb_main.c`), unless they take fragments.
fn keeps_its_mtus(link: &Link) -> bool {
    // None and zero: no limit is known.
    link.takes_fragments || link.mtu.max.is_some_and(|max| (1..=SINGLE_PAGE).contains(&max))
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
