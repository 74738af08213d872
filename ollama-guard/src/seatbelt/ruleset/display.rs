//! The ruleset as `nft` writes and reads it.

use std::fmt::{self, Display, Formatter};

use super::{AddressType, Chain, Device, Elements, Family, Match, Rule, Ruleset, Set, Verdict};
use crate::policy::Protocol;

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", crate::seatbelt::TABLE)?;
        for counter in &self.counters {
            writeln!(f, "\tcounter {counter} {{ }}")?;
        }
        for set in &self.sets {
            set.fmt(f)?;
        }
        for chain in &self.chains {
            chain.fmt(f)?;
        }
        writeln!(f, "}}")
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, elements): (&str, Vec<String>) = match &self.elements {
            Elements::Names(names) => ("ifname; flags interval", names.iter().map(|n| format!("\"{n}\"")).collect()),
            Elements::Inside(names) => {
                ("ifname . ifname", names.iter().map(|n| format!("\"{n}\" . \"{n}\"")).collect())
            }
            Elements::Ports(ports) => {
                ("inet_proto . inet_service", ports.iter().map(|(p, n)| format!("{p} . {n}")).collect())
            }
            Elements::V4Endpoints(ends) => (
                "ipv4_addr . inet_proto . inet_service",
                ends.iter().map(|(ip, p, n)| format!("{ip} . {p} . {n}")).collect(),
            ),
            Elements::V6Endpoints(ends) => (
                "ipv6_addr . inet_proto . inet_service",
                ends.iter().map(|(ip, p, n)| format!("{ip} . {p} . {n}")).collect(),
            ),
            Elements::V4(networks) => ("ipv4_addr; flags interval", networks.iter().map(ToString::to_string).collect()),
            Elements::V6(networks) => ("ipv6_addr; flags interval", networks.iter().map(ToString::to_string).collect()),
            Elements::Addresses(kinds) => ("fib_addrtype", kinds.iter().map(ToString::to_string).collect()),
            Elements::Counted => ("ifname; flags dynamic", Vec::new()),
            Elements::Conversations(Family::V4) => {
                ("ipv4_addr . inet_service . ipv4_addr . inet_service; flags dynamic,timeout; timeout 1d", Vec::new())
            }
            Elements::Conversations(Family::V6) => {
                ("ipv6_addr . inet_service . ipv6_addr . inet_service; flags dynamic,timeout; timeout 1d", Vec::new())
            }
        };
        writeln!(f, "\n\tset {} {{\n\t\ttype {kind}", self.name)?;
        match self.elements {
            Elements::Counted => writeln!(f, "\t\tsize {}", Elements::MAX_COUNTED)?,
            Elements::Conversations(_) => writeln!(f, "\t\tsize {}", Elements::MAX_CONVERSATIONS)?,
            _ => {}
        }
        if !elements.is_empty() {
            writeln!(f, "\t\telements = {{ {} }}", elements.join(", "))?;
        }
        writeln!(f, "\t}}")
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n\tchain {} {{", self.name)?;
        if let Some(place) = self.hook {
            let (hook, priority) = (place.hook_name(), place.priority());
            writeln!(f, "\t\ttype filter hook {hook} priority {priority}; policy accept;")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        if let Some((device, set)) = &self.count_interface {
            write!(f, "update @{set} {{ {device} counter }} ")?;
        }
        if let Some(counter) = self.counter {
            write!(f, "counter name \"{counter}\" ")?;
        }
        match &self.verdict {
            Verdict::Continue => {}
            Verdict::Untrack => write!(f, "notrack ")?,
            Verdict::Accept => write!(f, "accept ")?,
            Verdict::Drop => write!(f, "drop ")?,
            Verdict::Goto(chain) => write!(f, "goto {chain} ")?,
            Verdict::Note(family, set) => write!(f, "update @{set} {{ {} }} ", Ends(*family, false))?,
        }
        write!(f, "comment {:?}", self.comment)
    }
}

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "iifname",
            Self::Egress => "oifname",
            Self::Member => "meta sdifname",
        })
    }
}

impl Display for AddressType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Unreachable => "unreachable",
        })
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "!= " } else { "" };
        match self {
            Self::Device { device, set, negated } => write!(f, "{device} {}@{set}", not(negated)),
            Self::DeviceIs(device, name) => write!(f, "{device} \"{name}\""),
            Self::NoMember => write!(f, "meta sdif 0"),
            Self::NoIngress => write!(f, "meta iif 0"),
            Self::Translated => write!(f, "ct direction original ct status dnat"),
            Self::Devices(set) => write!(f, "iifname . oifname @{set}"),
            Self::Port { set, negated } => write!(f, "meta l4proto . th dport {}@{set}", not(negated)),
            Self::Endpoint { family, set, negated } => {
                let ip = match family {
                    Family::V4 => "ip",
                    Family::V6 => "ip6",
                };
                write!(f, "{ip} daddr . meta l4proto . th dport {}@{set}", not(negated))
            }
            Self::ProtocolIsNot(Protocol::Tcp) => write!(f, "meta l4proto != tcp"),
            Self::ProtocolIsNot(Protocol::Udp) => write!(f, "meta l4proto != udp"),
            Self::ProtocolIsNeither => write!(f, "meta l4proto != tcp meta l4proto != udp"),
            Self::LaterFragment(Family::V4) => write!(f, "ip frag-off & 8191 != 0"),
            Self::LaterFragment(Family::V6) => write!(f, "frag frag-off != 0"),
            Self::Source(Family::V4, set) => write!(f, "ip saddr @{set}"),
            Self::Source(Family::V6, set) => write!(f, "ip6 saddr @{set}"),
            Self::Destination { kind, negated } => write!(f, "fib daddr type {}{kind}", not(negated)),
            Self::DestinationNotIn(set) => write!(f, "fib daddr type != @{set}"),
            Self::Untracked => f.write_str("ct state untracked"),
            Self::OwnSource => write!(f, "fib saddr type local"),
            Self::SourcePort(set) => write!(f, "meta l4proto . th sport @{set}"),
            Self::Opens { negated } => {
                write!(f, "tcp flags & (fin | syn | rst | ack) {} syn", if *negated { "!=" } else { "==" })
            }
            Self::Answers(family, set) => {
                let ends = Ends(*family, true);
                write!(f, "{ends} @{set} update @{set} {{ {ends} }}")
            }
        }
    }
}

/// Both ends of a packet's connection, the other side's first: its source's, if it arrives.
struct Ends(Family, bool);

impl Display for Ends {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ip = match self.0 {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        let (there, here) = if self.1 { ("s", "d") } else { ("d", "s") };
        write!(f, "{ip} {there}addr . th {there}port . {ip} {here}addr . th {here}port")
    }
}
