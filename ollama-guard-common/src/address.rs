//! An IP address as the maps hold it.

/// An IPv4 or IPv6 address in 16 bytes, network byte order; IPv4 in its v4-mapped form (RFC 4291 §2.5.5.2).
/// The family is kept beside it: a real IPv6 packet may carry a mapped address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

impl Address {
    /// The 16 bytes, as four words in network byte order (the kernel compares and hashes words).
    #[inline(always)]
    pub const fn to_words(self) -> [u32; 4] {
        match self {
            Self::V4([a, b, c, d]) => {
                [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), u32::from_ne_bytes([a, b, c, d])]
            }
            Self::V6(bytes) => [
                word(&bytes, 0),
                word(&bytes, 4),
                word(&bytes, 8),
                word(&bytes, 12),
            ],
        }
    }

    /// 4 or 6.
    #[inline(always)]
    pub const fn family(self) -> u8 {
        match self {
            Self::V4(_) => 4,
            Self::V6(_) => 6,
        }
    }

    /// The address behind [`Self::to_words`] and [`Self::family`].
    pub const fn from_words(family: u8, words: [u32; 4]) -> Self {
        let [a, b, c, d] = [
            words[0].to_ne_bytes(),
            words[1].to_ne_bytes(),
            words[2].to_ne_bytes(),
            words[3].to_ne_bytes(),
        ];
        if family == 4 {
            return Self::V4(d);
        }
        Self::V6([
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
        ])
    }

    /// Must a packet to this destination be for this host, whatever the routes say: multicast, broadcast and
    /// "this network" 0/8, which Linux accepts as broadcast (`ip_route_input_rcu`, `net/ipv4/route.c`).
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        match self {
            Self::V4([first, b, c, d]) => {
                first == 0 || first & 0xf0 == 0xe0 || (first & b & c & d) == 0xff
            }
            Self::V6(bytes) => bytes[0] == 0xff,
        }
    }
}

#[inline(always)]
const fn word(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
