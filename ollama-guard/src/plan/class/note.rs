//! What a user would not expect about an interface's class.

use std::fmt;

use super::Fact;
use crate::links::{Kind, Link};
use crate::policy::InterfaceName;

/// One such thing, in words by `Display`: a clause that follows the interface's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It leads to containers and virtual machines only. No more than the reason for its class.
    LeadsToContainers,
    /// Named like a network of containers, or with containers on it, and something else is on it too.
    NotForContainers {
        /// A name under `containers` covers it.
        named: bool,
        /// What gives it away: the interface itself, or one that is joined to it.
        by: InterfaceName,
        /// What is known of that.
        fact: Fact,
    },
    /// Named like a network of containers, and of a kind that cannot be one.
    WrongKind(Kind),
    /// Trusted for a VPN's name, and a device that encrypts nothing: a NIC, what carries a NIC's traffic, a bridge, a pair, ….
    VpnNameOnANic(Kind),
    /// Named `lo` and not the loopback device.
    FalseLoopback(Kind),
    /// Its name is not one that a pattern could spell.
    OddName,
    /// Its master is of a kind that is not known to judge its packets.
    UnknownMaster {
        /// The master.
        name: InterfaceName,
        /// What it is.
        kind: Kind,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadsToContainers => f.write_str("leads to containers and virtual machines only"),
            Self::NotForContainers { named, by, fact } => {
                let like = if *named { "is named like a network of containers" } else { "has containers on it" };
                write!(f, "{like} but {by} {fact}, so it is guarded")
            }
            Self::WrongKind(kind) => {
                write!(f, "is named like a network of containers but is a {kind} device, so it is guarded")
            }
            Self::VpnNameOnANic(kind) => write!(
                f,
                "is trusted because of its name but is a {kind} device, not a VPN; rename it, or take the name out of \
                 `trusted`"
            ),
            Self::FalseLoopback(kind) => {
                write!(f, "is named like the loopback device but is a {kind} device, so it is guarded; rename it")
            }
            Self::OddName => {
                f.write_str("has a name that no pattern can spell, so it is guarded; rename it if it should be trusted")
            }
            Self::UnknownMaster { name, kind } => write!(
                f,
                "belongs to the {kind} device {name}; both are guarded, and a packet that passes both may be counted twice"
            ),
        }
    }
}

impl Note {
    /// Is it worth a warning, not only the reason of what is expected?
    pub const fn is_warning(&self) -> bool {
        !matches!(self, Self::LeadsToContainers)
    }

    /// What to do about it, if it is not what was meant.
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::NotForContainers { fact: Fact::BareTap, .. } => {
                "give a virtual machine a virtio network card; keep a VPN's tap out of a bridge of containers"
            }
            Self::NotForContainers { fact: Fact::Outside, .. } => {
                "if it leads to a container, run ollama-guard where it sees the container's processes"
            }
            Self::NotForContainers { .. } => {
                "if only containers should be there, take the rest away; if everything there may use the guarded ports, \
                 list it under `trusted`"
            }
            _ => "if that is what you want, nothing; else change the name or the configuration",
        }
    }
}

/// Names that VPN programs choose, and that people trust for it.
const VPN_NAMES: [&str; 7] = ["wg", "tailscale", "tun", "utun", "wt", "zt", "nordlynx"];
/// Kinds of tunnels that encrypt nothing and that no VPN program makes.
const OPEN_TUNNELS: [&str; 2] = ["geneve", "vxlan"];

/// Names decide, but one that lies is reported.
pub(super) fn vpn_name_on_a_nic(link: &Link) -> Option<Note> {
    let is_open = match &link.kind {
        Kind::Bond
        | Kind::Team
        | Kind::Vlan
        | Kind::Macvlan
        | Kind::Macvtap
        | Kind::Ipvlan
        | Kind::Ipvtap
        | Kind::Bridge
        | Kind::Veth
        | Kind::Netkit => true,
        Kind::Tunnel(word) => OPEN_TUNNELS.contains(&word.as_str()),
        _ => link.physical,
    };
    let sounds_like_a_vpn = VPN_NAMES.iter().any(|prefix| link.name.as_str().starts_with(prefix));
    (is_open && sounds_like_a_vpn).then(|| Note::VpnNameOnANic(link.kind.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_follows_the_interface_s_name() {
        let name = || "eth0".parse().unwrap();
        let notes = [
            Note::LeadsToContainers,
            Note::WrongKind(Kind::Vlan),
            Note::VpnNameOnANic(Kind::Vlan),
            Note::FalseLoopback(Kind::Dummy),
            Note::OddName,
            Note::UnknownMaster { name: name(), kind: Kind::Other("hsr".into()) },
        ];
        let facts = [
            Fact::DefaultRoute,
            Fact::Router,
            Fact::LeasedAddress,
            Fact::Unknown,
            Fact::Foreign(Kind::Tunnel("vxlan".into())),
            Fact::BareTap,
            Fact::Outside,
        ];
        let against = facts.map(|fact| Note::NotForContainers { named: fact != Fact::BareTap, by: name(), fact });
        let all: Vec<String> = notes.iter().chain(&against).map(|note| format!("x0 {note}")).collect();
        insta::assert_snapshot!(all.join("\n"));
    }
}
