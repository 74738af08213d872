//! From traffic and policy to a verdict, in two steps: most packets end at the first.

use crate::abi::{InterfaceClass, ServiceIndex};
use crate::conversation::may_answer;
use crate::{Address, Ambiguity, Fate, Network, Outcome, Packet, Protocol, Refusal, Suspect, Traffic, Transport};

/// What a decision asks of the policy. The kernel programs answer from constants and maps, tests from plain
/// values; every method is cheap to call except the last six, which are asked last.
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
    /// Would the kernel deliver a packet between these addresses to this host (rather than route it onward)? Yes where
    /// that is not known.
    fn is_for_this_host(&self, source: Address, destination: Address) -> bool;
    /// The same, and no where that is not known.
    fn is_surely_for_this_host(&self, source: Address, destination: Address) -> bool;
    /// Is it a proxied port: guarded where its proxy listens, and nowhere else?
    fn is_proxied(&self, protocol: Protocol, port: u16) -> bool;
    /// Does a proxy of this port listen at exactly this address?
    fn is_proxied_at(&self, protocol: Protocol, port: u16, address: Address) -> bool;
    /// Does the packet answer in a connection that this side opened ([`crate::answers`])? Where nothing tells, it does not.
    #[inline(always)]
    fn began_here<P: Packet + ?Sized>(&self, _: &P, _: Network) -> bool {
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
        // Hidden from whoever knows only what is in front.
        Traffic::Ip(network, Transport::Inside(protocol, port)) => {
            policy.service(protocol, port)?;
            ambiguous(policy, Some(network), Ambiguity::Extension, Some(protocol))
        }
        Traffic::Ip(network, Transport::Packet(_)) => ambiguous(policy, Some(network), Ambiguity::Extension, None),
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

/// Is a suspect our business after all? A proxied port is guarded for the addresses of this host at which its proxy listens:
/// the same number elsewhere is somebody else's, and what is not known is not ours.
#[inline(always)]
pub fn is_ours<P: Packet + ?Sized, R: Policy>(policy: &R, packet: &P, suspect: Suspect) -> bool {
    let (None, Some(protocol)) = (suspect.ambiguity, suspect.protocol) else { return true };
    if !policy.is_proxied(protocol, suspect.port) {
        return true;
    }
    let destination = destination(packet, suspect);
    if destination.family == 0 {
        return false;
    }
    let listens = |address| policy.is_proxied_at(protocol, suspect.port, address);
    (listens(destination) || listens(destination.unspecified()))
        && (destination.is_group() || policy.is_surely_for_this_host(source(packet, suspect), destination))
}

/// The expensive step: what becomes of it.
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
        InterfaceClass::Guarded => policy.forwards(),
    };
    if suspect.ambiguity.is_none() && policy.allows(source, suspect.service) {
        return Outcome::PassedAllowed;
    }
    if onward_passes && source.family != 0 {
        let destination = address(packet, suspect.network, End::Destination);
        let known = destination.family != 0;
        if known && !destination.is_group() && !policy.is_for_this_host(source, destination) {
            return Outcome::PassedForwarded;
        }
    }
    if suspect.ambiguity.is_none()
        && let (Some(protocol), Some(network)) = (suspect.protocol, suspect.network)
        && may_answer(packet, protocol, network)
        && policy.began_here(packet, network)
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
