//! What a user would not expect about an interface's class.

use std::fmt;

use crate::links::{Kind, Link};
use crate::policy::InterfaceName;

/// One such thing, in words by `Display`: a clause that follows the interface's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A bridge named like a container bridge, with a member that carries somebody else's traffic.
    ForeignMember {
        /// The member.
        name: InterfaceName,
        /// What it is.
        kind: Kind,
    },
    /// Named like a container bridge and no bridge.
    NotABridge(Kind),
    /// Trusted for a VPN's name, and a NIC or something that carries a NIC's traffic.
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
            Self::ForeignMember { name, kind } => write!(
                f,
                "is named like a container bridge but has the {kind} member {name}, so it is guarded; give the bridge \
                 another name, or list it under `trusted` if everything behind {name} may use the guarded ports"
            ),
            Self::NotABridge(kind) => {
                write!(f, "is named like a container bridge but is a {kind} device, so it is guarded")
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

/// Names that VPN programs choose, and that people trust for it.
const VPN_NAMES: [&str; 3] = ["wg", "tailscale", "tun"];

/// Names decide, but one that lies is reported.
pub(super) fn vpn_name_on_a_nic(link: &Link) -> Option<Note> {
    let carries_a_nic = link.physical
        || matches!(
            link.kind,
            Kind::Bond | Kind::Team | Kind::Vlan | Kind::Macvlan | Kind::Macvtap | Kind::Ipvlan | Kind::Ipvtap
        );
    let sounds_like_a_vpn = VPN_NAMES.iter().any(|prefix| link.name.as_str().starts_with(prefix));
    (carries_a_nic && sounds_like_a_vpn).then(|| Note::VpnNameOnANic(link.kind.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_follows_the_interface_s_name() {
        let name = || "eth0".parse().unwrap();
        let notes = [
            Note::ForeignMember { name: name(), kind: Kind::Physical },
            Note::NotABridge(Kind::Veth),
            Note::VpnNameOnANic(Kind::Vlan),
            Note::FalseLoopback(Kind::Dummy),
            Note::OddName,
            Note::UnknownMaster { name: name(), kind: Kind::Other("hsr".into()) },
        ];
        insta::assert_snapshot!(notes.map(|note| format!("x0 {note}")).join("\n"));
    }
}
