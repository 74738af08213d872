//! The table as data: what the kernel should hold, without asking the kernel anything.
//!
//! [`lower()`] turns the policy into a [`Ruleset`], [`Ruleset::evaluate`] says what that ruleset does to a packet (so
//! that tests can hold it against the wall's decision), and its `Display` prints what `nft -f` makes it of.
//! `encode` knows how the kernel wants to hear it.

mod allows;
mod chains;
mod display;
mod evaluate;
mod interval;
mod lower;
mod place;
mod set;

pub use evaluate::{AddressType, Carried, PacketFacts, Transport};
pub use interval::Edge;
pub use lower::{Derived, Surroundings, lower};
pub use place::{Look, Place};
pub use set::{Elements, Set};

use std::fmt;

use crate::policy::InterfaceName;

/// A whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Sets, in the order in which they are made.
    pub sets: Vec<Set>,
    /// Named counters: they outlive the rules that count in them, so a reload keeps their values.
    pub counters: Vec<CounterName>,
    /// Chains; a chain comes after those that jump to it or before, the batch makes all of them first.
    pub chains: Vec<Chain>,
}

/// Where packets are judged and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Every packet that arrives, before conntrack and NAT (priority raw, -300; reassembly by conntrack, where
    /// somebody uses conntrack, is at -400: `include/uapi/linux/netfilter_ipv4.h`).
    Prerouting,
    /// What is delivered to this host, after NAT.
    Input,
    /// What is routed onward, after NAT.
    Forward,
}

impl Hook {
    /// Those that judge, in the order a packet meets them.
    pub const ALL: [Self; 3] = [Self::Prerouting, Self::Input, Self::Forward];

    /// Chain name, metric label and first part of counter names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
        }
    }

    /// The dynamic set that counts this hook's refusals by interface.
    pub fn counted_set(self, observed: bool) -> String {
        chains::names::counted(self, observed)
    }
}

/// What a named counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterName {
    /// Arrived on a trusted interface.
    Trusted(Hook),
    /// From a container bridge, passed.
    Container(Hook),
    /// An `[[allow]]` named the source.
    Allowed(Hook),
    /// An answer in a connection that began on this side.
    Reply(Hook),
    /// Refused.
    Refused(Refused),
}

/// One kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refused {
    /// Where.
    pub hook: Hook,
    /// Why.
    pub why: Why,
    /// `mode = "observe"`: counted, not dropped.
    pub observed: bool,
}

/// Why a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It names a guarded port and nothing allows it.
    Untrusted,
    /// TCP or UDP may be there, but its port cannot be read.
    Hidden,
}

impl CounterName {
    /// Every counter of the table. All of them always exist, so that a change of mode loses no value.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for hook in Hook::ALL {
            all.extend([Self::Trusted(hook), Self::Container(hook), Self::Allowed(hook), Self::Reply(hook)]);
            for observed in [false, true] {
                all.extend([Why::Untrusted, Why::Hidden].map(|why| Self::Refused(Refused { hook, why, observed })));
            }
        }
        all
    }
}

impl fmt::Display for CounterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted(hook) => write!(f, "{}_trusted", hook.as_str()),
            Self::Container(hook) => write!(f, "{}_container", hook.as_str()),
            Self::Allowed(hook) => write!(f, "{}_allowed", hook.as_str()),
            Self::Reply(hook) => write!(f, "{}_reply", hook.as_str()),
            Self::Refused(Refused { hook, why, observed }) => {
                let fate = if *observed { "would_drop" } else { "dropped" };
                let why = match why {
                    Why::Untrusted => "untrusted",
                    Why::Hidden => "hidden",
                };
                write!(f, "{}_{fate}_{why}", hook.as_str())
            }
        }
    }
}

/// A chain: a base chain has a hook, policy accept always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it, if not by a jump.
    pub hook: Option<Place>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule: if every match holds, the counters count and the verdict is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All must hold. A match that cannot be evaluated (no port to read) does not hold, negated or not:
    /// `NFT_BREAK` in the kernel (`net/netfilter/nf_tables_core.c`).
    pub matches: Vec<Match>,
    /// Counts the packet by the name of the interface it arrived on, in a dynamic set. In a rule of its own: a full
    /// set ends the rule (`net/netfilter/nft_dynset.c`), and no verdict may depend on that.
    pub count_interface: Option<(Device, String)>,
    /// Counts the packet.
    pub counter: Option<CounterName>,
    /// What happens to it.
    pub verdict: Verdict,
    /// Which promise the rule keeps.
    pub comment: String,
}

/// Which interface of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// `iifname`: it arrived there.
    Ingress,
    /// `oifname`: it leaves there.
    Egress,
    /// `meta sdifname`: the VRF member it arrived on, after the VRF device took it over.
    Member,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The interface's name is (not) in a set.
    Device {
        /// Which interface.
        device: Device,
        /// The set.
        set: String,
        /// Not in it.
        negated: bool,
    },
    /// The interface has this name.
    DeviceIs(Device, InterfaceName),
    /// No VRF member: the host's own traffic inside a VRF.
    NoMember,
    /// No interface on which it arrived: in postrouting the host's own packets, and frames that a bridge passes on, which
    /// `br_netfilter` shows so (`br_nf_post_routing`). What is routed has one there since 5.7 (`ip_output`).
    NoIngress,
    /// Its destination was translated (`ct status dnat`), and it is no answer. Not held by packets without conntrack.
    Translated,
    /// [`Verdict::Untrack`] had its effect: not on what another rule gave a conntrack template (`nft_notrack_eval`).
    Untracked,
    /// `iifname . oifname` is in a set.
    Devices(String),
    /// `meta l4proto . th dport` is (not) in a set.
    Port {
        /// The set.
        set: String,
        /// Not in it.
        negated: bool,
    },
    /// `daddr . meta l4proto . th dport`, of this family, is (not) in a set.
    Endpoint {
        /// Of which version the packet is.
        family: Family,
        /// The set.
        set: String,
        /// Not in it.
        negated: bool,
    },
    /// The transport protocol is neither of these.
    ProtocolIsNot(crate::policy::Protocol),
    /// Neither TCP nor UDP.
    ProtocolIsNeither,
    /// A fragment other than the first.
    LaterFragment(Family),
    /// The source address is in a set of its family.
    Source(Family, String),
    /// `fib daddr type`: what the routing tables say of the destination is (not) this.
    Destination {
        /// The address type.
        kind: AddressType,
        /// Anything else.
        negated: bool,
    },
    /// `fib daddr type` is not in a set.
    DestinationNotIn(String),
    /// `fib saddr type local`
    OwnSource,
    /// `meta l4proto . th sport` is in a set.
    SourcePort(String),
    /// TCP, and SYN alone of FIN, SYN, RST and ACK (or anything else): it opens a connection.
    Opens {
        /// Anything else.
        negated: bool,
    },
    /// The packet is in the other direction of a connection in a set; that it was heard of is noted there.
    Answers(Family, String),
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// What a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the next rule.
    Continue,
    /// Connection tracking lets it be, so that no NAT gives it another destination; the next rule.
    Untrack,
    /// This table has no objection; other tables still may.
    Accept,
    /// The packet ends here.
    Drop,
    /// The rules of another chain, for good.
    Goto(String),
    /// The connection is noted in a set, as [`Match::Answers`] will ask for it; then the next rule.
    Note(Family, String),
}
