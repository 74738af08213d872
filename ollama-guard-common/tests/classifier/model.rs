//! A policy of plain values, and the bridge between what the classifier says and what is true.

use ollama_guard_common::abi::{InterfaceClass, ServiceIndex};
use ollama_guard_common::{Address, Ambiguity, Policy, Protocol, Traffic, Transport};

use crate::packet::{Truth, Why};

/// A port that the tests guard.
pub(crate) const GUARDED: u16 = 11434;
/// A port that nobody guards.
pub(crate) const OTHER: u16 = 22;

/// What the classifier says, in the words of [`Truth`].
pub(crate) fn told(traffic: Traffic) -> Truth {
    let why = |ambiguity| match ambiguity {
        Ambiguity::Extension => Why::Headers,
        Ambiguity::Fragment => Why::Fragment,
        Ambiguity::Truncated => Why::Cut,
    };
    match traffic {
        Traffic::Other | Traffic::Ip(_, Transport::Other) => Truth::Unrelated,
        Traffic::Ip(_, Transport::Port(Protocol::Tcp, port)) => Truth::Tcp(port),
        Traffic::Ip(_, Transport::Port(Protocol::Udp, port)) => Truth::Udp(port),
        Traffic::Ip(_, Transport::Inside(Protocol::Tcp, port)) => Truth::TcpInside(port),
        Traffic::Ip(_, Transport::Inside(Protocol::Udp, port)) => Truth::UdpInside(port),
        Traffic::Ip(_, Transport::Packet(_)) => panic!("not looked inside"),
        Traffic::Ip(_, Transport::Ambiguous(ambiguity, _)) | Traffic::Ambiguous(ambiguity) => {
            Truth::Hidden(why(ambiguity))
        }
    }
}

/// A policy whose every answer is a field.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to one question of the trait")]
pub(crate) struct Fixed {
    pub(crate) class: InterfaceClass,
    pub(crate) observes: bool,
    pub(crate) containers_may_enter: bool,
    pub(crate) forwards: bool,
    pub(crate) udp: bool,
    pub(crate) allows: bool,
    pub(crate) local: bool,
    /// The port is a proxied one, whose proxy listens at all addresses of IPv4.
    pub(crate) proxied: bool,
}

impl Default for Fixed {
    fn default() -> Self {
        Self {
            class: InterfaceClass::Guarded,
            observes: false,
            containers_may_enter: false,
            forwards: false,
            udp: false,
            allows: false,
            local: true,
            proxied: false,
        }
    }
}

impl Policy for Fixed {
    fn class(&self) -> InterfaceClass {
        self.class
    }

    fn observes(&self) -> bool {
        self.observes
    }

    fn containers_may_enter(&self) -> bool {
        self.containers_may_enter
    }

    fn forwards(&self) -> bool {
        self.forwards
    }

    fn service(&self, protocol: Protocol, port: u16) -> Option<ServiceIndex> {
        (port == GUARDED && self.guards_any(Some(protocol))).then_some(ServiceIndex::new(1))
    }

    fn guards_any(&self, protocol: Option<Protocol>) -> bool {
        self.udp || protocol != Some(Protocol::Udp)
    }

    fn allows(&self, _: Address, _: ServiceIndex) -> bool {
        self.allows
    }

    fn is_for_this_host(&self, _: Address, _: Address) -> bool {
        self.local
    }

    fn is_surely_for_this_host(&self, _: Address, _: Address) -> bool {
        self.local
    }

    fn is_proxied(&self, _: Protocol, _: u16) -> bool {
        self.proxied
    }

    fn is_proxied_at(&self, _: Protocol, _: u16, address: Address) -> bool {
        self.proxied && address == Address::v4([0; 2])
    }
}
