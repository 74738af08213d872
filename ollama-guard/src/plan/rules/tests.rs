//! What holds for every set of rules.

use super::*;
use proptest::prelude::*;

fn net() -> impl Strategy<Value = IpNet> {
    (any::<u16>(), 8_u8..=32).prop_map(|(bits, length)| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 | u32::from(bits) << 12);
        IpNet::new(address.into(), length).unwrap().trunc()
    })
}

fn guarded_port() -> impl Strategy<Value = GuardedPort> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    // Few ports, so that both protocols meet in one; the ends of the table and of its words among them.
    let port = prop_oneof![prop::sample::select(vec![0, 63, 64, 11434, u16::MAX]), any::<u16>()];
    (protocol, port, 1..=15_u8).prop_map(|(protocol, port, service)| GuardedPort {
        protocol,
        port,
        service: ServiceIndex::new(service),
    })
}

/// As the layout says: a bit for each port, and half a byte for its service.
fn held(rules: &abi::Rules, protocol: Protocol, port: u16) -> Option<ServiceIndex> {
    let services = rules.services[usize::from(port)];
    let (bitmap, service) = match protocol {
        Protocol::Tcp => (&rules.tcp, services & 0x0f),
        Protocol::Udp => (&rules.udp, services >> 4),
    };
    let guarded = bitmap[usize::from(port / 64)] >> (port % 64) & 1 == 1;
    guarded.then_some(ServiceIndex::new(service))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_constants_guard_these_ports_and_no_others(
        ports in prop::collection::vec(guarded_port(), 0..12),
        (observe, containers_may_enter) in any::<(bool, bool)>(),
        onward in prop::sample::select(vec![Onward::Drop, Onward::Pass, Onward::PassBack]),
        allow in prop::collection::btree_map(prop::sample::select(vec!["10.0.0.0/8", "fd00::/8"]), 1..8_u32, 0..=2),
        seed: u32,
    ) {
        // A port belongs to one service.
        let expected: BTreeMap<_, _> = ports.iter().map(|one| ((one.protocol, one.port), one.service)).collect();
        let ports = expected.iter().map(|(&(protocol, port), &service)| GuardedPort { protocol, port, service });
        for (class, number) in [(Class::Guarded, 0), (Class::Container, 1), (Class::Trusted, 2)] {
            let allow = allow.iter().map(|(net, set)| (net.parse().unwrap(), *set)).collect();
            let ports = ports.clone().collect();
            let proxied = BTreeSet::new();
            let rules = KernelRules { class, observe, containers_may_enter, onward, ports, proxied, allow };
            let constants = rules.constants(seed);
            prop_assert_eq!((constants.class, constants.seed, constants.reserved), (number, seed, [0; 2]));
            prop_assert_eq!(constants.observe == 1, observe);
            prop_assert_eq!(constants.containers_may_enter == 1, containers_may_enter);
            prop_assert_eq!(constants.forward, onward as u8);
            prop_assert_eq!(constants.allows_v4 == 1, rules.allow.contains_key(&"10.0.0.0/8".parse().unwrap()));
            prop_assert_eq!(constants.allows_v6 == 1, rules.allow.contains_key(&"fd00::/8".parse().unwrap()));
            let may_pass = class != Class::Guarded || onward != Onward::Drop || !rules.allow.is_empty();
            prop_assert_eq!(constants.refuses_all == 1, !may_pass);
            for (protocol, guards) in [(Protocol::Tcp, constants.guards_tcp), (Protocol::Udp, constants.guards_udp)] {
                prop_assert_eq!(guards == 1, rules.ports.iter().any(|guarded| guarded.protocol == protocol));
                for port in 0..=u16::MAX {
                    prop_assert_eq!(held(&constants, protocol, port), expected.get(&(protocol, port)).copied());
                }
            }
        }
    }

    #[test]
    fn a_longest_prefix_match_finds_what_any_entry_allows(
        entries in proptest::collection::vec((net(), 1_u32..8), 0..40),
        probes in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let mut sources = BTreeMap::new();
        for (net, set) in &entries {
            *sources.entry(*net).or_default() |= set;
        }
        inherit(&mut sources);
        for probe in probes {
            let address: IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 | probe >> 8).into();
            let any = entries.iter().filter(|(net, _)| net.contains(&address)).fold(0, |all, (_, set)| all | set);
            let longest = sources.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
            prop_assert_eq!(longest.map_or(0, |(_, set)| *set), any);
        }
    }
}

#[test]
fn an_ipvlan_child_elsewhere_gets_what_the_host_would_send_back_to_the_wire() {
    let rules = |class, onward| KernelRules {
        class,
        observe: false,
        containers_may_enter: false,
        onward,
        ports: BTreeSet::new(),
        proxied: BTreeSet::new(),
        allow: BTreeMap::new(),
    };
    let shared = rules(Class::Guarded, Onward::Drop).shared();
    assert_eq!(shared, rules(Class::Guarded, Onward::PassBack));
    assert_eq!((shared.constants(0).forward, shared.constants(0).refuses_all), (2, 0));
    for other in [rules(Class::Guarded, Onward::Pass), rules(Class::Trusted, Onward::Drop)] {
        assert_eq!(other.clone().shared(), other);
    }
}

/// A configured port is guarded everywhere, whatever a proxy says of it; any other one where its proxy listens.
#[test]
fn a_proxied_port_is_guarded_for_its_addresses() {
    let policy = crate::config::built_in();
    let (services, _) = ServiceTable::default().update(&policy);
    let service = services.index(&policy.services[0].name);
    let proxied = |port, addresses: &[&str]| ProxiedPort {
        port: GuardedPort { protocol: Protocol::Tcp, port, service },
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    let proxies = [proxied(8080, &["0.0.0.0", "fd00::1"]), proxied(11434, &["::"])].into();
    let rules = KernelRules::lower(&policy, &services, &proxies, Class::Guarded, &"eth0".parse().unwrap());
    let constants = rules.constants(0);
    assert_eq!((constants.proxies, constants.refuses_all), (1, 0));
    assert_eq!(held(&constants, Protocol::Tcp, 8080), Some(service));
    let key = |family, address| ProxiedKey { address, port: 8080, protocol: 6, family };
    let all_v4 = [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), 0];
    let one_v6 = [u32::from_ne_bytes([0xfd, 0, 0, 0]), 0, 0, u32::from_ne_bytes([0, 0, 0, 1])];
    assert_eq!(rules.proxied_keys(), [key(0, [0; 4]), key(4, all_v4), key(6, one_v6)]);

    let rules = KernelRules::lower(&policy, &services, &BTreeSet::new(), Class::Guarded, &"eth0".parse().unwrap());
    assert_eq!((rules.constants(0).proxies, rules.constants(0).refuses_all), (0, 1), "nothing changes without one");
}
