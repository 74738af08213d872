use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::links::{Kind, Link, Links, Routes};
use crate::observe::snapshot::{Problem, Severity};
use crate::plan::class::Placements;
use crate::plan::fixture;

fn policy(text: &str) -> Policy {
    crate::config::parse(Path::new("config.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}

fn said(found: &[Finding]) -> Vec<String> {
    found.iter().map(|finding| format!("{:?} {finding}", finding.weight)).collect()
}

/// Every way to have Ollama's port open although nobody means it.
#[test]
fn ollama_s_port_is_guarded_or_it_is_said() {
    for guarded in [
        "",
        "[[service]]\nname = \"web\"\nports = [3000]",
        "[[service]]\nname = \"llm\"\nports = [11434, 3000]",
        "[[service]]\nname = \"voice\"\nports = [11434]\nprotocols = [\"udp\"]",
        "ollama = false\n[[service]]\nname = \"llm\"\nports = [11434]",
    ] {
        assert_eq!(of_policy(&policy(guarded)), [], "{guarded}");
    }
    let switched_off = policy("ollama = false\n[[service]]\nname = \"web\"\nports = [3000]");
    let moved = policy("[[service]]\nname = \"ollama\"\nports = [11435]");
    let other_protocol = policy("[[service]]\nname = \"ollama\"\nports = [11434]\nprotocols = [\"udp\"]");
    assert_eq!(
        said(&of_policy(&switched_off)),
        ["Opens ollama: ollama's port 11434 is not guarded: ollama = false; \
          remove that line, unless no Ollama listens there"]
    );
    for open in [moved, other_protocol] {
        let [only] = of_policy(&open).try_into().unwrap();
        assert!(only.problem.ends_with("the service \"ollama\" lists other ports"), "{only}");
    }
}

#[test]
fn everyone_is_everyone_in_any_spelling() {
    let allow = |sources: &[&str]| {
        let entries = sources.iter().map(|source| format!("[[allow]]\nsource = \"{source}\"\n"));
        of_policy(&policy(&entries.collect::<String>()))
    };
    let opens = |sources: &[&str]| allow(sources).iter().any(|finding| finding.weight == Weight::Opens);
    assert!(opens(&["0.0.0.0/0"]) && opens(&["::/0"]) && opens(&["2000::/3"]));
    assert!(opens(&["0.0.0.0/1", "128.0.0.0/1"]) && opens(&["::/1", "8000::/1"]));
    let but_ten =
        ["0.0.0.0/5", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/1"];
    assert!(opens(&but_ten));
    assert!(!opens(&["10.0.0.0/8", "192.168.0.0/16", "203.0.113.0/24"]) && !opens(&[]));
    assert_eq!(of_policy(&policy("profile = \"lan\"")), []);
}

/// A network card and a tunnel.
fn vpn() -> Links {
    [fixture::nic(2, "eth0"), fixture::link(7, "wg0", Kind::Wireguard)].into_iter().collect()
}

/// A host with these interfaces; wg0 has these routes, and these sources passed over it.
fn on_host(text: &str, links: &Links, routes: &[&str], passed: &[(&str, u64)]) -> Vec<Finding> {
    let (policy, wg0) = (policy(text), links.iter().find(|link| link.name.as_str() == "wg0").unwrap().index);
    let routes: Routes = routes.iter().map(|net| (wg0, net.parse().unwrap())).collect();
    let passed: Vec<_> = passed
        .iter()
        .map(|&(source, packets)| Traffic { interface: wg0, source: source.parse::<IpAddr>().unwrap(), packets })
        .collect();
    let placements = Placements::new(&policy, links);
    let host = Host { links, placements: &placements, routes: &routes, local_ports: None, passed: &passed };
    of_host(&policy, &host)
}

#[test]
fn a_commercial_vpn_is_told_from_one_s_own() {
    let find = |routes: &[&str], passed: &[(&str, u64)]| said(&on_host("", &vpn(), routes, passed));
    let own = ["10.8.0.0/24", "192.168.7.0/24", "fd00::/64", "203.0.113.0/28"];
    assert_eq!(find(&own, &[("10.8.0.2", 9), ("100.64.0.7", 1), ("fd00::2", 1), ("fe80::1", 1)]), [""; 0]);
    assert_eq!(find(&own, &[("203.0.113.9", 1)]), [""; 0], "who has a route is expected");
    for default in [&["0.0.0.0/0"][..], &["0.0.0.0/1", "128.0.0.0/1"], &["::/0"], &["2000::/3"]] {
        let found = find(default, &[("10.8.0.2", 1)]);
        assert!(found.len() == 1 && found[0].starts_with("Opens wg0: is trusted and carries the default"), "{found:?}");
    }
    let seen = find(&["0.0.0.0/0"], &[("198.51.100.7", 2), ("203.0.113.9", 40), ("2001:db8::1", 1)]);
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("43 packets from public addresses") && seen[0].contains("203.0.113.9"), "{seen:?}");
    // Nobody's default route is a reason to say anything of an interface that is guarded.
    assert_eq!(on_host("profile = \"local\"", &vpn(), &["0.0.0.0/0"], &[("203.0.113.9", 1)]), []);
}

#[test]
fn what_opens_a_port_is_a_warning_and_what_is_odd_is_not() {
    let problems = of_policy(&policy("forwarded = \"pass\"\n[interfaces]\ntrusted = [\"*\"]")).into_iter();
    let severities: Vec<_> = problems.map(|finding| Problem::from(finding).severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Notice]);
}

#[test]
fn an_allow_that_does_nothing_is_told_and_no_other() {
    let find = |text: &str| said(&of_policy(&policy(text)));
    let bridge = "[[allow]]\nsource = \"172.17.0.2\"\ninterface = \"docker0\"\n";
    assert_eq!(find(bridge), [""; 0], "it lets a single container in");
    let all = find(&("interfaces.container_access = \"allow\"\n".to_owned() + bridge));
    assert!(all.len() == 1 && all[0].contains("docker0 does nothing: container_access = \"allow\""), "{all:?}");
    let private = "[[allow]]\nsource = \"172.16.0.0/12\"\n";
    assert_eq!(find(&("profile = \"lan\"\n".to_owned() + private)), [""; 0], "the profile's leaves containers out");
    assert_eq!(find(&private.repeat(2)).len(), 1);
}

/// What is found on a host of these interfaces; routes by interface index.
fn on(text: &str, links: Vec<Link>, routes: &[(u32, &str)]) -> Vec<Finding> {
    let (policy, links): (_, Links) = (policy(text), links.into_iter().collect());
    let routes: Routes = routes.iter().map(|(index, net)| (*index, net.parse().unwrap())).collect();
    let placements = Placements::new(&policy, &links);
    of_host(&policy, &Host { links: &links, placements: &placements, routes: &routes, local_ports: None, passed: &[] })
}

#[test]
fn a_vpn_that_is_not_trusted_gets_the_line_to_write() {
    let hint = |links: Vec<Link>, routes: &[(u32, &str)]| said(&on("", links, routes));
    let netbird = || vec![fixture::nic(2, "eth0"), fixture::link(7, "wt0", Kind::Wireguard)];
    assert_eq!(
        hint(netbird(), &[(7, "100.100.0.0/16")]),
        [
            "Hint trusted: wt0 is a VPN interface and not trusted: packets from there are dropped; if everyone on that VPN may use \
          the guarded ports, write under [interfaces]: trusted = [\"lo\", \"tailscale0\", \"wg0\", \"wt0\"]"
        ]
    );
    // A commercial VPN, to which such a line would open the port.
    assert_eq!(hint(netbird(), &[(7, "0.0.0.0/0")]), [""; 0]);
    assert_eq!(hint(netbird(), &[(7, "0.0.0.0/1"), (7, "128.0.0.0/1")]), [""; 0]);
    for trusted in ["wg0", "tailscale0"] {
        assert_eq!(hint(vec![fixture::link(7, trusted, Kind::Tun)], &[]), [""; 0]);
    }
    let no_vpn = vec![
        fixture::link(3, "vnet0", Kind::Tap),
        Link { up: false, ..fixture::link(4, "tun0", Kind::Tun) },
        fixture::link(5, "tun\"]", Kind::Tun),
    ];
    assert_eq!(hint(no_vpn, &[]), [""; 0], "a virtual machine's, one that is down, one that would need escapes");
    let many = hint((1..=300).map(|n| fixture::link(n, &format!("tun{n}"), Kind::Tun)).collect(), &[]);
    assert!(many.len() == 1 && many[0].contains("tun4 and 296 more") && many[0].len() < 300, "{many:?}");
}

#[test]
fn a_name_without_an_interface_is_told_if_it_is_a_slip_or_another_name() {
    let named = |mut nic: Link, other: &str| {
        nic.other_names = vec![other.parse().unwrap()];
        nic
    };
    let host = || vec![named(fixture::nic(2, "eth0"), "enp3s0"), fixture::link(9, "veth1", Kind::Veth)];
    let find = |text: &str| said(&on(text, host(), &[]));
    assert_eq!(find(""), [""; 0], "a VPN that is down");
    let slip = "there is no interface \"eht0\", but one called eth0; if you mean that one, write \"eth0\"";
    assert_eq!(find("[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"eht0\""), [format!("Odd allow: {slip}")]);
    assert_eq!(find("[interfaces]\ntrusted = [\"lo\", \"eht0\"]"), [format!("Odd trusted: {slip}")]);
    assert_eq!(find("[interfaces.attach]\neht0 = \"tc\""), [format!("Odd interfaces.attach: {slip}")]);
    let other = find("[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"enp3s0\"");
    assert!(
        other.len() == 1
            && other[0]
                .ends_with("another name of eth0, and matches nothing: the kernel's own name counts; write \"eth0\""),
        "{other:?}"
    );
    assert_eq!(find("[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"vteh1\""), [""; 0], "nobody writes that");
    let both = "[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"eht0\"\n[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"eth0\"";
    assert_eq!(find(both), [""; 0], "that one is written too");
}

#[test]
fn a_member_s_master_is_named() {
    let host = || {
        let bond = fixture::member(fixture::link(3, "bond0", Kind::Bond), 4);
        vec![
            fixture::member(fixture::nic(2, "eth0"), 3),
            bond,
            fixture::link(4, "br0", Kind::Bridge),
            fixture::nic(5, "eth1"),
        ]
    };
    let find = |text: &str| {
        let found = said(&on(text, host(), &[]));
        found.into_iter().filter(|said| said.contains("belongs to")).collect::<Vec<_>>()
    };
    let allow = |name: &str| find(&format!("[[allow]]\nsource = \"10.0.0.1\"\ninterface = \"{name}\""));
    let words = "Odd allow: eth0 belongs to the bridge device br0, where its packets arrive: the name has no effect; write \
                 \"br0\" if you mean all that arrives there, or remove it";
    assert_eq!(allow("eth0"), [words]);
    assert_eq!((allow("bond0").len(), allow("br0").len(), allow("eth1").len()), (1, 0, 0));
    let trusted = |names: &str| find(&format!("[interfaces]\ntrusted = [\"lo\", {names}]")).len();
    assert_eq!((trusted("\"eth0\""), trusted("\"br0\""), trusted("\"eth0\", \"br0\"")), (1, 0, 0));
}

/// What is said of these refused packets: index of the interface, source, packets.
fn away(text: &str, links: Vec<Link>, refused: &[(u32, &str, u64)]) -> Option<TurnedAway> {
    let (policy, links): (_, Links) = (policy(text), links.into_iter().collect());
    let placements = Placements::new(&policy, &links);
    let host =
        Host { links: &links, placements: &placements, routes: &Routes::default(), local_ports: None, passed: &[] };
    let refused = refused.iter().map(|&(interface, source, packets)| Traffic {
        interface,
        source: source.parse().unwrap(),
        packets,
    });
    turned_away(&policy, &host, refused)
}

#[test]
fn the_private_address_with_the_most_refused_packets_is_told() {
    let host = || vec![fixture::nic(2, "eth0"), fixture::link(7, "wg0", Kind::Wireguard), fixture::nic(3, "eth1")];
    let refused = [
        (2, "10.0.0.3", 4),
        (2, "10.0.0.3", 4), // to another service
        (3, "10.0.0.3", 1),
        (2, "192.168.1.9", 7),
        (2, "203.0.113.9", 900),
        (2, "fe80::1", 1),
        (9, "10.0.0.1", 900), // its interface is gone
    ];
    let found = away("", host(), &refused).unwrap();
    assert_eq!((found.source.to_string(), found.interface.as_str(), found.packets), ("10.0.0.3".into(), "eth0", 8));
    assert_eq!((found.others, found.vpn.unwrap().as_str(), found.routed_to), (3, "wg0", None));
    // What is allowed by now was refused earlier.
    let next = away("[[allow]]\nsource = \"10.0.0.0/24\"\ninterface = \"eth0\"", host(), &refused).unwrap();
    assert_eq!((next.source.to_string(), next.others), ("192.168.1.9".into(), 2));
    assert_eq!(away("profile = \"lan\"", host(), &refused), None);
    let strangers = [(2, "203.0.113.9", 1), (2, "100.64.0.9", 1), (2, "2001:db8::1", 1)];
    assert_eq!(away("", host(), &strangers), None);
    assert_eq!(away("", vec![fixture::nic(2, "eth0")], &refused).unwrap().vpn, None);
}

#[test]
fn a_subnet_router_is_considered_where_this_host_routes_to_a_vpn() {
    let host = |forwards| {
        let nic = Link { forwards, ..fixture::nic(2, "eth0") };
        vec![nic, fixture::link(7, "tailscale0", Kind::Tun)]
    };
    let refused = [(2, "192.168.1.9", 7)];
    let to = |text: &str, links: Vec<Link>| away(text, links, &refused).unwrap().routed_to.map(|name| name.to_string());
    assert_eq!(to("", host(true)), Some("tailscale0".into()));
    assert_eq!(to("", host(false)), None);
    assert_eq!(to("forwarded = \"pass\"", host(true)), None);
    assert_eq!(to("", host(true)[..1].to_vec()), None, "there is no VPN");
}
