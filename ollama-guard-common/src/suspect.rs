//! A packet between the two steps of a decision.

use crate::abi::ServiceIndex;
use crate::{Ambiguity, Network, Protocol};

/// A packet that is, or may be, for a guarded port. All it needs to be judged, without a reference into the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Where its IP header is; `None` if it ends before that.
    pub network: Option<Network>,
    /// The service, or [`ServiceIndex::UNKNOWN`] where the port cannot be read.
    pub service: ServiceIndex,
    /// Why the port cannot be read.
    pub ambiguity: Option<Ambiguity>,
    /// The transport protocol, if it is known.
    pub protocol: Option<Protocol>,
    /// The destination port; 0 where it cannot be read.
    pub port: u16,
}

/// Far more than the classifier's bound on tags allows, and few enough bits for the verifier to add to a pointer.
const OFFSET: u64 = 0xff;
const VERSION: u32 = 16;
const SERVICE: u32 = 20;
const AMBIGUITY: u32 = 24;
const PROTOCOL: u32 = 28;
const PRESENT: u64 = 1 << 31;
const PORT: u32 = 32;

impl Suspect {
    /// One number, never zero: what a kernel program hands to the function that judges. An `Option` of this type would
    /// be passed in memory, partly undefined, which the verifier refuses to read.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        let (version, offset) = match self.network {
            Some(Network::V4(offset)) => (4, offset),
            Some(Network::V6(offset)) => (6, offset),
            None => (0, 0),
        };
        let ambiguity = match self.ambiguity {
            None => 0,
            Some(Ambiguity::Fragment) => 1,
            Some(Ambiguity::Extension) => 2,
            Some(Ambiguity::Truncated) => 3,
        };
        let protocol = match self.protocol {
            None => 0,
            Some(Protocol::Tcp) => 1,
            Some(Protocol::Udp) => 2,
        };
        PRESENT
            | (offset as u64 & OFFSET)
            | version << VERSION
            | (self.service.get() as u64) << SERVICE
            | ambiguity << AMBIGUITY
            | protocol << PROTOCOL
            | (self.port as u64) << PORT
    }

    /// The suspect behind [`Self::to_bits`].
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "each field is masked to its width")]
    pub const fn from_bits(bits: u64) -> Self {
        let offset = (bits & OFFSET) as usize;
        Self {
            network: match bits >> VERSION & 0xf {
                4 => Some(Network::V4(offset)),
                6 => Some(Network::V6(offset)),
                _ => None,
            },
            service: ServiceIndex::new((bits >> SERVICE & 0xf) as u8),
            ambiguity: match bits >> AMBIGUITY & 0xf {
                0 => None,
                1 => Some(Ambiguity::Fragment),
                2 => Some(Ambiguity::Extension),
                _ => Some(Ambiguity::Truncated),
            },
            protocol: match bits >> PROTOCOL & 0x3 {
                0 => None,
                1 => Some(Protocol::Tcp),
                _ => Some(Protocol::Udp),
            },
            port: (bits >> PORT) as u16,
        }
    }

    /// The same suspect without its place, for code that knows it.
    #[inline(always)]
    #[must_use]
    pub const fn anywhere(self) -> Self {
        Self { network: None, ..self }
    }

    /// The same suspect, which a glance found there: what the compiler knows of it need not be read from bits, so that code
    /// for this case alone does a third less.
    #[inline(always)]
    #[must_use]
    pub const fn glanced(self, network: Network) -> Self {
        Self { network: Some(network), ambiguity: None, ..self }
    }
}
