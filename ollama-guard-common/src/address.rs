//! An IP address as the maps hold it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::transmute;

/// An IPv4 or IPv6 address, or none. Every byte is always set, so that it can be a map key as it is (and because the
/// verifier refuses to read what an `Option` leaves undefined).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// 4 or 6; 0 if there is no address. Kept beside the bytes because a real IPv6 packet may carry a mapped address.
    pub family: u32,
    /// Network byte order; IPv4 in its v4-mapped form (RFC 4291 §2.5.5.2).
    pub words: [u32; 4],
}

impl Address {
    /// No address: the packet ends before it.
    pub const UNKNOWN: Self = Self { family: 0, words: [0; 4] };

    /// An IPv4 address in network byte order.
    #[inline(always)]
    pub const fn v4(halves: [u16; 2]) -> Self {
        Self { family: 4, words: [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), word(halves[0], halves[1])] }
    }

    /// An IPv6 address in network byte order.
    #[inline(always)]
    pub const fn v6(halves: [u16; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = halves;
        Self { family: 6, words: [word(a, b), word(c, d), word(e, f), word(g, h)] }
    }

    /// All addresses of this one's family, as a socket is bound to them.
    #[inline(always)]
    #[must_use]
    pub const fn unspecified(self) -> Self {
        if self.family == 4 { Self::v4([0; 2]) } else { Self { family: self.family, words: [0; 4] } }
    }

    /// The octets of an IPv4 address.
    #[inline(always)]
    pub const fn v4_octets(self) -> [u8; 4] {
        self.words[3].to_ne_bytes()
    }

    /// The octets of an IPv6 address.
    #[inline(always)]
    pub const fn v6_octets(self) -> [u8; 16] {
        let [a, b, c, d] = self.words;
        let (a, b, c, d) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes(), d.to_ne_bytes());
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
    }

    /// For people.
    pub const fn ip(self) -> Option<IpAddr> {
        match self.family {
            4 => {
                let [a, b, c, d] = self.v4_octets();
                Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            }
            6 => Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(self.v6_octets())))),
            _ => None,
        }
    }

    /// Must a packet to this destination be for this host, whatever the routes say: multicast, broadcast and
    /// "this network" 0/8, which Linux accepts as broadcast (`ip_route_input_rcu`, `net/ipv4/route.c`).
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        if self.family == 4 {
            let [first, ..] = self.v4_octets();
            return first == 0 || first & 0xf0 == 0xe0 || self.words[3] == u32::MAX;
        }
        self.words[0].to_ne_bytes()[0] == 0xff
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::v4(transmute!(ip.octets())),
            IpAddr::V6(ip) => Self::v6(transmute!(ip.octets())),
        }
    }
}

#[inline(always)]
const fn word(first: u16, second: u16) -> u32 {
    transmute!([first, second])
}
