//! The stand's addresses and routes, and what the kernel makes of them.

use std::net::IpAddr;

use ollama_guard::seatbelt::ruleset::AddressType;

/// The namespace's addresses and routes. [`super::Model`]'s `is_onward` says the same in Rust.
pub(super) const SETUP: &str = "
    link set INTERFACE address 02:00:00:00:00:01 mtu 9000 up
    address add 192.0.2.1/24 dev INTERFACE
    address add 2001:db8::1/64 dev INTERFACE nodad
    address add 10.99.0.1/32 dev lo
    address add 2001:db8:99::1/128 dev lo
    neighbour add 192.0.2.9 lladdr 02:00:00:00:00:02 dev INTERFACE
    neighbour add 2001:db8::9 lladdr 02:00:00:00:00:02 dev INTERFACE
    route add 198.51.100.0/24 via 192.0.2.9
    route add 2001:db8:5::/48 via 2001:db8::9
    route add blackhole 198.51.100.128/25
    route add unreachable 2001:db8:5:ffff::/64
";

/// Destinations and sources of every kind, in the stand's routing table.
pub const NETWORK: [&str; 24] = [
    "192.0.2.1",
    "10.99.0.1",
    "127.0.0.1",
    "192.0.2.255",
    "255.255.255.255",
    "224.0.0.251",
    "0.0.0.0",
    "192.0.2.9",
    "192.0.2.77",
    "198.51.100.7",
    "198.51.100.200",
    "8.8.8.8",
    "2001:db8::1",
    "2001:db8:99::1",
    "::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::",
    "2001:db8::9",
    "2001:db8::77",
    "2001:db8:5::7",
    "2001:db8:5:ffff::7",
    "2600::1",
    "::ffff:192.0.2.1",
];

/// What `fib daddr type` says of an address in the stand's routing table: for IPv4 the local table alone is asked.
pub(super) fn kind(destination: IpAddr) -> AddressType {
    match destination {
        IpAddr::V4(address) => match address.octets() {
            [0, ..] | [127 | 255, 255, 255, 255] | [192, 0, 2, 255] => AddressType::Broadcast,
            [224..=239, ..] => AddressType::Multicast,
            [127, ..] | [192, 0, 2, 1] | [10, 99, 0, 1] => AddressType::Local,
            _ => AddressType::Unicast,
        },
        IpAddr::V6(address) => match (address.segments(), address.to_bits() & u128::from(u64::MAX)) {
            _ if address.is_multicast() => AddressType::Multicast,
            ([0x2001, 0xdb8, 0 | 0x99, 0, ..], 1) => AddressType::Local,
            ([0x2001, 0xdb8, 0, 0, ..], 0) => AddressType::Anycast,
            ([0x2001, 0xdb8, 5, 0xffff, ..], _) => AddressType::Unreachable,
            ([0x2001, 0xdb8, 0, 0, ..] | [0x2001, 0xdb8, 5, ..] | [0xfe80, ..], _) => AddressType::Unicast,
            _ => AddressType::Unreachable,
        },
    }
}

/// Who is at the other end of the link.
pub const NEIGHBOUR: [&str; 2] = ["192.0.2.9", "2001:db8::9"];
