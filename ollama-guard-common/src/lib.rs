//! What the kernel programs and the loader share: the packet classifier, the decision, and the layout of the
//! maps between them. `no_std`, no allocation, no `unsafe`.
//!
//! A packet goes through [`glance()`] or [`classify_ethernet`] (bytes → [`Traffic`]), then [`suspect()`] (is it any of our
//! business?) and [`judge`] (→ [`Decision`]). They are pure and run unchanged in the XDP program, in the TC programs and
//! on the host, where they are tested.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
mod address;
mod classify;
mod conversation;
mod decide;
mod ethernet;
mod glance;
mod ip;
mod packet;
mod reason;
mod suspect;

pub use address::Address;
pub use classify::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Network, Traffic, Transport, classify_ethernet, classify_network, look_inside,
    outline, outline_ethernet, outline_untagged,
};
pub use conversation::{Conversation, answers, may_answer, opens};
pub use decide::{Decision, Policy, Verdict, destination, is_ours, judge, source, suspect};
pub use ethernet::{ETHERNET_HEADER, MAX_TAGS, is_link_local, is_tag};
pub use glance::{GLANCED_V4, GLANCED_V6, ethertype, glance};
pub use ip::{MAX_EXTENSIONS, MAX_TRANSPORT_OFFSET};
pub use packet::Packet;
pub use reason::{Ambiguity, Fate, Outcome, Reason, Refusal};
pub use suspect::Suspect;

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IP protocol 6 (RFC 9293).
    Tcp,
    /// IP protocol 17 (RFC 768).
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}
