//! The policy of this program instance, as constants.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::maps::lpm_trie::Key;
use ollama_guard_common::abi::{InterfaceClass, Onward, ProxiedKey, Rules, ServiceIndex};
use ollama_guard_common::{Address, Network, Packet, Policy, Protocol};

use crate::began;
use crate::bounds::opaque;
use crate::maps::{ALLOW_V4, ALLOW_V6, PROXIED};
use crate::route::Route;

/// Filled and frozen by the loader before the program is verified. Reads are volatile, because to the compiler it
/// is a constant zero.
#[unsafe(no_mangle)]
pub(crate) static RULES: Rules = Rules::EMPTY;

macro_rules! rule {
    ($field:ident) => {{
        // SAFETY: a field of a static; volatile only keeps the compiler from folding its initial value.
        unsafe { core::ptr::read_volatile(core::ptr::addr_of!($crate::rules::RULES.$field)) }
    }};
}

pub(crate) use rule;

/// Is every packet to a guarded port refused, so that there is nothing to ask? See [`Constants::refusing`].
#[inline(always)]
pub(crate) fn refuses_all() -> bool {
    rule!(refuses_all) != 0
}

/// The policy as one packet's decision sees it. `route` answers the question that needs the packet's context.
pub(crate) struct Constants {
    /// Asks the kernel's routing table.
    route: Route,
    /// [`refuses_all`] is known to hold, also to the compiler.
    refusing: bool,
    /// Whether it is an answer is not asked.
    unanswered: bool,
}

impl Constants {
    #[inline(always)]
    pub(crate) const fn new(route: Route) -> Self {
        Self { route, refusing: false, unanswered: false }
    }

    /// The same where [`refuses_all`]: the compiler leaves out all questions, and what they would take.
    #[inline(always)]
    pub(crate) const fn refusing(self) -> Self {
        Self { refusing: true, ..self }
    }

    /// The same for packets that hide their header behind something: nobody's own connection sends such, and a chain of
    /// calls has 512 bytes of stack.
    #[inline(always)]
    pub(crate) const fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }
}

impl Policy for Constants {
    #[inline(always)]
    fn class(&self) -> InterfaceClass {
        if self.refusing {
            return InterfaceClass::Guarded;
        }
        match rule!(class) {
            1 => InterfaceClass::Container,
            2 => InterfaceClass::Trusted,
            _ => InterfaceClass::Guarded,
        }
    }

    #[inline(always)]
    fn observes(&self) -> bool {
        rule!(observe) != 0
    }

    #[inline(always)]
    fn containers_may_enter(&self) -> bool {
        rule!(containers_may_enter) != 0
    }

    #[inline(always)]
    fn forwards(&self) -> bool {
        !self.refusing && rule!(forward) != 0
    }

    #[inline(always)]
    fn service(&self, protocol: Protocol, port: u16) -> Option<ServiceIndex> {
        let port = opaque(port.into()) & 0xffff;
        let bitmap = match protocol {
            Protocol::Tcp => addr_of!(RULES.tcp),
            Protocol::Udp => addr_of!(RULES.udp),
        };
        // SAFETY: port >> 6 is below 1024, the bitmap's length.
        let word = unsafe { read_volatile(bitmap.cast::<u64>().add(port >> 6)) };
        if word >> (port & 63) & 1 == 0 {
            return None;
        }
        // SAFETY: port is below 65 536, the table's length.
        let services = unsafe { read_volatile(addr_of!(RULES.services).cast::<u8>().add(port)) };
        Some(ServiceIndex::new(match protocol {
            Protocol::Tcp => services,
            Protocol::Udp => services >> 4,
        }))
    }

    #[inline(always)]
    fn guards_any(&self, protocol: Option<Protocol>) -> bool {
        match protocol {
            Some(Protocol::Tcp) => rule!(guards_tcp) != 0,
            Some(Protocol::Udp) => rule!(guards_udp) != 0,
            None => true,
        }
    }

    #[inline(always)]
    fn allows(&self, source: Address, service: ServiceIndex) -> bool {
        if self.refusing {
            return false;
        }
        let services = if source.family == 4 && rule!(allows_v4) != 0 {
            ALLOW_V4.get(Key::new(32, source.v4_octets()))
        } else if source.family == 6 && rule!(allows_v6) != 0 {
            ALLOW_V6.get(Key::new(128, source.v6_octets()))
        } else {
            None
        };
        services.is_some_and(|services| services & service.bit() != 0)
    }

    #[inline(always)]
    fn is_for_this_host(&self, source: Address, destination: Address) -> bool {
        self.route.is_for_this_host(&source, &destination, rule!(forward) == Onward::PassBack as u8)
    }

    #[inline(always)]
    fn is_surely_for_this_host(&self, source: Address, destination: Address) -> bool {
        self.route.is_surely_for_this_host(&source, &destination)
    }

    #[inline(always)]
    fn is_proxied(&self, protocol: Protocol, port: u16) -> bool {
        !self.refusing && rule!(proxies) != 0 && self.is_proxied_at(protocol, port, Address::UNKNOWN)
    }

    #[inline(always)]
    fn is_proxied_at(&self, protocol: Protocol, port: u16, address: Address) -> bool {
        let protocol = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        let key = ProxiedKey { address: address.words, port, protocol, family: address.family as u8 };
        // SAFETY: only whether there is an entry is asked.
        unsafe { PROXIED.get(key) }.is_some()
    }

    #[inline(always)]
    fn began_here<P: Packet + ?Sized>(&self, packet: &P, network: Network) -> bool {
        !self.unanswered && began::is_answer(packet, network)
    }
}
