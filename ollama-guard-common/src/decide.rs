//! From traffic and policy to a verdict.

use crate::abi::{InterfaceClass, ServiceIndex};

use crate::{Address, Ambiguity, Fate, Outcome, Packet, Protocol, Refusal, Traffic, Transport};

/// What a decision asks of the policy. The kernel programs answer from constants and maps, tests from plain
/// values; every method is cheap to call except the last two, which are asked last.
pub trait Policy {
    /// The class of the interface the packet arrived on.
    fn class(&self) -> InterfaceClass;
    /// `mode = "observe"`.
    fn observes(&self) -> bool;
    /// `container_access = "allow"`.
    fn containers_may_enter(&self) -> bool;
    /// `forwarded = "pass"`.
    fn forwards(&self) -> bool;
    /// The service that guards a port.
    fn service(&self, protocol: Protocol, port: u16) -> Option<ServiceIndex>;
    /// Is any port of this protocol guarded? (`None`: of any protocol.)
    fn guards_any(&self, protocol: Option<Protocol>) -> bool;
    /// Does an `[[allow]]` name this source, for this interface and service?
    fn allows(&self, source: Address, service: ServiceIndex) -> bool;
    /// Would the kernel deliver a packet between these addresses to this host (rather than route it onward)?
    fn is_for_this_host(&self, source: Address, destination: Address) -> bool;
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It ends here.
    Drop,
}

/// What happens to a packet and how it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not ours: passes, uncounted.
    Ignore,
    /// Ours.
    Count {
        /// The slot it is counted in.
        outcome: Outcome,
        /// The service, or [`ServiceIndex::UNKNOWN`] where the port cannot be read.
        service: ServiceIndex,
        /// Who sent it, if the packet says.
        source: Option<Address>,
    },
}

impl Decision {
    /// What happens to the packet.
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Count { outcome, .. } if matches!(outcome.fate(), Fate::Dropped) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }
}

/// Judges one packet.
#[inline(always)]
pub fn decide<P: Packet + ?Sized, R: Policy>(policy: &R, packet: &P, traffic: Traffic) -> Decision {
    // The cheapest exit first: what cannot be for a guarded port.
    let (network, service, ambiguity) = match traffic {
        Traffic::Other | Traffic::Ip(_, Transport::Other) => return Decision::Ignore,
        Traffic::Ip(network, Transport::Port(protocol, port)) => match policy.service(protocol, port) {
            Some(service) => (Some(network), service, None),
            None => return Decision::Ignore,
        },
        Traffic::Ip(network, Transport::Ambiguous(ambiguity, protocol)) => {
            if !policy.guards_any(protocol) {
                return Decision::Ignore;
            }
            (Some(network), ServiceIndex::UNKNOWN, Some(ambiguity))
        }
        Traffic::Ambiguous(ambiguity) => {
            if !policy.guards_any(None) {
                return Decision::Ignore;
            }
            (None, ServiceIndex::UNKNOWN, Some(ambiguity))
        }
    };
    let class = policy.class();
    let refuses = match class {
        InterfaceClass::Trusted => false,
        InterfaceClass::Container => !policy.containers_may_enter(),
        InterfaceClass::Guarded => true,
    };
    if !refuses && ambiguity.is_some() {
        return Decision::Ignore; // it would pass whatever its port is, and may well be for another one
    }
    let addresses = match network {
        Some(network) => network.addresses(packet),
        None => None,
    };
    let outcome = judge(policy, class, service, ambiguity, addresses);
    Decision::Count { outcome, service, source: addresses.map(|(source, _)| source) }
}

#[inline(always)]
fn judge<R: Policy>(
    policy: &R,
    class: InterfaceClass,
    service: ServiceIndex,
    ambiguity: Option<Ambiguity>,
    addresses: Option<(Address, Address)>,
) -> Outcome {
    let onward_passes = match class {
        InterfaceClass::Trusted => return Outcome::PassedTrusted,
        InterfaceClass::Container if policy.containers_may_enter() => return Outcome::PassedContainer,
        InterfaceClass::Container => true,
        InterfaceClass::Guarded => policy.forwards(),
    };
    let refusal = match ambiguity {
        Some(ambiguity) => Refusal::Ambiguous(ambiguity),
        None => Refusal::Untrusted,
    };
    if let Some((source, destination)) = addresses {
        if matches!(class, InterfaceClass::Guarded) && ambiguity.is_none() && policy.allows(source, service) {
            return Outcome::PassedAllowed;
        }
        if onward_passes && !destination.is_group() && !policy.is_for_this_host(source, destination) {
            return Outcome::PassedForwarded;
        }
    }
    Outcome::refused(refusal, policy.observes())
}
