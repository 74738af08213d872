//! From traffic and policy to a verdict, in two steps: most packets end at the first.

use crate::abi::{InterfaceClass, ServiceIndex};
use crate::{
    Address, Ambiguity, Conversation, Fate, Network, Outcome, Packet, Protocol, Refusal, Suspect, Traffic, Transport,
    answers,
};

/// What a decision asks of the policy. The kernel programs answer from constants and maps, tests from plain
/// values; every method is cheap to call except the last three, which are asked last.
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
    /// Did this side open that connection? Where nothing tells, it did not.
    #[inline(always)]
    fn began_here(&self, _: &Conversation) -> bool {
        false
    }
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
pub struct Decision {
    /// The slot it is counted in.
    pub outcome: Outcome,
    /// For which service.
    pub service: ServiceIndex,
    /// Who sent it, if the packet says.
    pub source: Address,
}

impl Decision {
    /// What happens to the packet.
    #[inline(always)]
    pub const fn verdict(self) -> Verdict {
        match self.outcome.fate() {
            Fate::Dropped => Verdict::Drop,
            Fate::Passed | Fate::WouldDrop => Verdict::Pass,
        }
    }
}

/// The cheap step: is the packet any of our business? `None`: it passes, uncounted.
#[inline(always)]
pub fn suspect<R: Policy>(policy: &R, traffic: Traffic) -> Option<Suspect> {
    match traffic {
        Traffic::Other | Traffic::Ip(_, Transport::Other) => None,
        Traffic::Ip(network, Transport::Port(protocol, port)) => {
            let service = policy.service(protocol, port)?;
            Some(Suspect { network: Some(network), service, ambiguity: None, protocol: Some(protocol), port })
        }
        Traffic::Ip(network, Transport::Ambiguous(ambiguity, protocol)) => {
            ambiguous(policy, Some(network), ambiguity, protocol)
        }
        Traffic::Ambiguous(ambiguity) => ambiguous(policy, None, ambiguity, None),
    }
}

/// Where the policy refuses nothing, an unreadable packet would pass whatever its port is, and may well be for
/// another one: not ours.
#[inline(always)]
fn ambiguous<R: Policy>(
    policy: &R,
    network: Option<Network>,
    ambiguity: Ambiguity,
    protocol: Option<Protocol>,
) -> Option<Suspect> {
    let refuses = match policy.class() {
        InterfaceClass::Trusted => false,
        InterfaceClass::Container => !policy.containers_may_enter(),
        InterfaceClass::Guarded => true,
    };
    let ours = refuses && policy.guards_any(protocol);
    ours.then_some(Suspect { network, service: ServiceIndex::UNKNOWN, ambiguity: Some(ambiguity), protocol, port: 0 })
}

/// Who sent a suspect, as far as it says.
#[inline(always)]
pub fn source<P: Packet + ?Sized>(packet: &P, suspect: Suspect) -> Address {
    address(packet, suspect.network, End::Source)
}

/// Where a suspect was going, as far as it says.
#[inline(always)]
pub fn destination<P: Packet + ?Sized>(packet: &P, suspect: Suspect) -> Address {
    address(packet, suspect.network, End::Destination)
}

/// The dear step: what becomes of it.
#[inline(always)]
pub fn judge<P: Packet + ?Sized, R: Policy>(policy: &R, packet: &P, suspect: Suspect) -> Decision {
    let source = source(packet, suspect);
    let outcome = outcome(policy, packet, suspect, source);
    Decision { outcome, service: suspect.service, source }
}

#[inline(always)]
fn outcome<P: Packet + ?Sized, R: Policy>(policy: &R, packet: &P, suspect: Suspect, source: Address) -> Outcome {
    let onward_passes = match policy.class() {
        InterfaceClass::Trusted => return Outcome::PassedTrusted,
        InterfaceClass::Container if policy.containers_may_enter() => return Outcome::PassedContainer,
        InterfaceClass::Container => true,
        InterfaceClass::Guarded => {
            if suspect.ambiguity.is_none() && policy.allows(source, suspect.service) {
                return Outcome::PassedAllowed;
            }
            policy.forwards()
        }
    };
    if onward_passes && source.family != 0 {
        let destination = address(packet, suspect.network, End::Destination);
        let known = destination.family != 0;
        if known && !destination.is_group() && !policy.is_for_this_host(source, destination) {
            return Outcome::PassedForwarded;
        }
    }
    if suspect.ambiguity.is_none()
        && let (Some(Protocol::Tcp), Some(network)) = (suspect.protocol, suspect.network)
        && let Some(conversation) = answers(packet, network)
        && policy.began_here(&conversation)
    {
        return Outcome::PassedReply;
    }
    let refusal = match suspect.ambiguity {
        Some(ambiguity) => Refusal::Ambiguous(ambiguity),
        None => Refusal::Untrusted,
    };
    Outcome::refused(refusal, policy.observes())
}

/// Which end of a packet's way.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// One of its addresses, [`Address::UNKNOWN`] where the packet ends before it.
#[inline(always)]
fn address<P: Packet + ?Sized>(packet: &P, network: Option<Network>, end: End) -> Address {
    let (v4, v6) = match end {
        End::Source => (12, 8),
        End::Destination => (16, 24),
    };
    let address = match network {
        Some(Network::V4(offset)) => packet.read(offset + v4).map(Address::v4),
        Some(Network::V6(offset)) => packet.read(offset + v6).map(Address::v6),
        None => None,
    };
    address.unwrap_or(Address::UNKNOWN)
}
