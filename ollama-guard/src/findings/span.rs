//! How much of the internet a list of networks covers.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A list covers most of the internet if it covers half of the addresses of one family: 2^32 for IPv4, for IPv6 the 2^125
/// that are assigned (`2000::/3`, RFC 4291 §2.4). VPNs write a default route as two halves, or leave out single networks.
pub(super) fn is_most(nets: impl IntoIterator<Item = IpNet>) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for net in nets {
        match net {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    let half = |bits: u32| 1_u128 << (bits - 1);
    let sum = |sizes: &mut dyn Iterator<Item = u128>| sizes.fold(0, u128::saturating_add);
    sum(&mut Ipv4Net::aggregate(&v4).iter().map(|net| size(net.prefix_len(), 32))) >= half(32)
        || sum(&mut Ipv6Net::aggregate(&v6).iter().map(|net| size(net.prefix_len(), 128))) >= half(125)
}

/// Addresses in a network; one less than there are in all of IPv6.
fn size(prefix: u8, bits: u32) -> u128 {
    1_u128.checked_shl(bits - u32::from(prefix)).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn most(nets: &[&str]) -> bool {
        is_most(nets.iter().map(|net| net.parse::<IpNet>().unwrap()))
    }

    #[test]
    fn a_default_route_in_any_spelling() {
        assert!(most(&["0.0.0.0/0"]) && most(&["::/0"]) && most(&["2000::/3"]));
        assert!(most(&["0.0.0.0/1", "128.0.0.0/1"]) && most(&["::/1", "8000::/1"]));
        assert!(most(&[
            "0.0.0.0/5",
            "8.0.0.0/7",
            "11.0.0.0/8",
            "12.0.0.0/6",
            "16.0.0.0/4",
            "32.0.0.0/3",
            "64.0.0.0/2",
            "128.0.0.0/1"
        ]));
        assert!(!most(&[]) && !most(&["10.0.0.0/8", "fc00::/7", "fe80::/10"]) && !most(&["2001:db8::/32"]));
        assert!(!most(&["64.0.0.0/2", "64.0.0.0/3", "96.0.0.0/3"]), "what overlaps counts once");
    }

    proptest! {
        #[test]
        fn a_default_route_split_anywhere_is_one(left_out in any::<u32>()) {
            // Everything but one address, as "exclude private IPs" writes it: 32 networks.
            let rest = (1..=32_u8).map(|prefix| {
                let sibling = left_out ^ 1 << (32 - u32::from(prefix));
                IpNet::V4(Ipv4Net::new(sibling.into(), prefix).unwrap().trunc())
            });
            prop_assert!(is_most(rest));
        }
    }
}
