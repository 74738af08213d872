//! Where the base chains sit, and when they look.

use super::Hook;

/// A hook is looked at when other rules begin with a packet, and once more when they are done with it: what they rewrote
/// in between has its final port only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// Prerouting at raw, input and forward at filter.
    First,
    /// Input at its very end; what is routed onward in postrouting, before its source is translated.
    Last,
    /// Nothing is judged, but what leaves is noted, where the hook's packets look the other way round: output for input, and
    /// postrouting, after its source is translated, for prerouting.
    Note,
}

/// Where a base chain sits in the kernel's packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose packets it judges.
    pub hook: Hook,
    /// When.
    pub look: Look,
}

impl Place {
    /// All five, in the order a packet meets them. What follows prerouting is the last look at what that passes.
    pub const ALL: [Self; 5] = [
        Self { hook: Hook::Prerouting, look: Look::First },
        Self { hook: Hook::Input, look: Look::First },
        Self { hook: Hook::Input, look: Look::Last },
        Self { hook: Hook::Forward, look: Look::First },
        Self { hook: Hook::Forward, look: Look::Last },
    ];

    /// The chain's name.
    pub const fn chain(self) -> &'static str {
        match (self.hook, self.look) {
            (Hook::Input, Look::Last) => "input_last",
            (Hook::Forward, Look::Last) => "postrouting",
            (Hook::Prerouting, Look::Note) => "postrouting_note",
            (_, Look::Note) => "output_note",
            (hook, _) => hook.as_str(),
        }
    }

    /// The kernel's hook, as `nft` calls it.
    pub const fn hook_name(self) -> &'static str {
        match (self.hook, self.look) {
            (Hook::Forward, Look::Last) | (Hook::Prerouting, Look::Note) => "postrouting",
            (_, Look::Note) => "output",
            (hook, _) => hook.as_str(),
        }
    }

    /// Among the chains of the same hook (`include/uapi/linux/netfilter_ipv4.h`).
    pub const fn priority(self) -> i32 {
        match (self.hook, self.look) {
            // Behind NF_IP_PRI_NAT_SRC, and NF_IP_PRI_NAT_DST.
            (Hook::Prerouting, Look::Note) => 300,
            (_, Look::Note) => 0,
            // NF_IP_PRI_RAW
            (Hook::Prerouting, _) => -300,
            // NF_IP_PRI_FILTER
            (_, Look::First) => 0,
            // Before NF_IP_PRI_CONNTRACK_CONFIRM, so that what is dropped leaves no connection behind.
            (Hook::Input, Look::Last) => i32::MAX - 1,
            // Before NF_IP_PRI_NAT_SRC, where the source becomes another.
            (Hook::Forward, Look::Last) => 99,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;
    use crate::policy::{Forwarded, Mode, Policy};
    use crate::seatbelt::ruleset::{AddressType, Carried, PacketFacts, Surroundings, Transport, Verdict, lower};

    /// With `br_netfilter` frames from port to port of a bridge are here too. They are not for this host; what is routed
    /// is, and what DNAT sent elsewhere.
    #[test]
    fn what_is_bridged_passes_and_what_is_routed_or_translated_is_judged() {
        let bridges = ["vmbr0", "docker0"].map(|name| name.parse().unwrap()).into();
        let surroundings = Surroundings { bridges, bridges_translate: true, ..Surroundings::default() };
        for forwarded in [Forwarded::Drop, Forwarded::Pass] {
            let ruleset = lower(&Policy { forwarded, ..built_in() }, &surroundings);
            let verdict = |ingress: &str, egress: &str, carried| {
                ruleset.evaluate(&PacketFacts {
                    hook: Hook::Forward,
                    ingress: ingress.parse().unwrap(),
                    egress: egress.parse().ok(),
                    member: None,
                    source: [203, 0, 113, 9].into(),
                    address: [192, 0, 2, 1].into(),
                    destination: AddressType::Unicast,
                    transport: Transport::Port(6, 11434),
                    carried,
                })
            };
            let onward = if forwarded == Forwarded::Pass { Verdict::Accept } else { Verdict::Drop };
            assert_eq!(verdict("vmbr0", "vmbr0", Carried::Bridged), Verdict::Accept);
            assert_eq!(verdict("vmbr0", "vmbr0", Carried::BridgedTranslated), onward);
            assert_eq!(verdict("vmbr0", "vmbr0", Carried::Routed), onward);
            for ends in [("vmbr0", "eth0"), ("eth0", "vmbr0"), ("eth0", "eth0")] {
                assert_eq!(verdict(ends.0, ends.1, Carried::Routed), onward, "{ends:?}");
            }
            for carried in [Carried::Routed, Carried::Bridged, Carried::BridgedTranslated] {
                assert_eq!(verdict("docker0", "docker0", carried), Verdict::Accept, "containers among themselves");
            }
            assert_eq!(verdict("vmbr0", "docker0", Carried::Routed), Verdict::Drop);
        }
    }

    /// What is rewritten after the first look is judged at the last one; each refused packet is counted once.
    #[test]
    fn what_is_refused_is_counted_once_however_often_it_is_looked_at() {
        for mode in [Mode::Enforce, Mode::Observe] {
            let ruleset = lower(&Policy { mode, ..built_in() }, &Surroundings::default());
            for hook in Hook::ALL {
                let facts = PacketFacts {
                    hook,
                    ingress: "eth0".parse().unwrap(),
                    egress: "eth1".parse().ok(),
                    member: None,
                    source: [203, 0, 113, 9].into(),
                    address: [192, 0, 2, 1].into(),
                    destination: AddressType::Local,
                    transport: Transport::Port(6, 11434),
                    carried: Carried::Routed,
                };
                let counted =
                    |facts: &PacketFacts| ruleset.trace(facts).iter().filter(|rule| rule.counter.is_some()).count();
                assert_eq!(counted(&facts), 1, "{hook:?}, {mode:?}");
                assert_eq!(counted(&PacketFacts { ingress: "wg0".parse().unwrap(), ..facts }), 1, "{hook:?}, {mode:?}");
            }
        }
    }
}
