//! An IP packet in an IP packet, between two functions: the verifier would look at the inner headers again for every way
//! through the outer ones.

use ollama_guard_common::{Network, Traffic, Transport};

/// Far more than the classifier's bounds allow.
const OFFSET: u64 = 0x3fff;
const INNER: u32 = 16;
const VERSION: u32 = 32;

/// Where both of them are.
#[derive(Clone, Copy)]
pub(crate) struct Inside {
    outer: usize,
    inner: Network,
}

impl Inside {
    /// What an outline found, if it found that.
    #[inline(always)]
    pub(crate) const fn of(outline: Traffic) -> Option<Self> {
        match outline {
            Traffic::Ip(Network::V6(outer), Transport::Packet(inner)) => Some(Self { outer, inner }),
            _ => None,
        }
    }

    /// The outline.
    #[inline(always)]
    pub(crate) const fn traffic(self) -> Traffic {
        Traffic::Ip(Network::V6(self.outer), Transport::Packet(self.inner))
    }

    /// One number.
    #[inline(always)]
    pub(crate) const fn to_bits(self) -> u64 {
        let (version, inner) = match self.inner {
            Network::V4(offset) => (4, offset),
            Network::V6(offset) => (6, offset),
        };
        self.outer as u64 | (inner as u64) << INNER | version << VERSION
    }

    /// What is behind [`Self::to_bits`].
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        let inner = (bits >> INNER & OFFSET) as usize;
        let inner = if bits >> VERSION == 4 { Network::V4(inner) } else { Network::V6(inner) };
        Self { outer: (bits & OFFSET) as usize, inner }
    }
}
