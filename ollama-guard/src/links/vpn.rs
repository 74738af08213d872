//! Which interfaces lead to a VPN.

use super::{Kind, Link};

impl Link {
    /// Is it the device of a VPN program? By its kind: `WireGuard` (also `NetBird`'s wt0, nordlynx), a tun device (OpenVPN,
    /// tailscaled) or the kernel's `OpenVPN`. `ZeroTier` alone makes taps, which else are those of virtual machines, and is
    /// told from them by its name.
    pub fn is_vpn(&self) -> bool {
        match &self.kind {
            Kind::Wireguard | Kind::Tun => true,
            Kind::Tunnel(word) => word == "ovpn",
            Kind::Tap => !self.virtio && self.name.as_str().starts_with("zt"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture;

    #[test]
    fn a_vpn_is_told_by_its_kind() {
        let is_vpn = |name: &str, kind: Kind| fixture::link(7, name, kind).is_vpn();
        let tunnel = |word: &str| Kind::Tunnel(word.to_owned());
        assert!(is_vpn("wt0", Kind::Wireguard) && is_vpn("tun0", Kind::Tun) && is_vpn("vpn", tunnel("ovpn")));
        assert!(is_vpn("ztabcdefgh", Kind::Tap) && !is_vpn("vnet0", Kind::Tap));
        assert!(!is_vpn("wg0", Kind::Bridge) && !is_vpn("wg0", Kind::Physical) && !is_vpn("tun0", tunnel("vxlan")));
        assert!(!Link { virtio: true, ..fixture::link(7, "zt0", Kind::Tap) }.is_vpn());
    }
}
