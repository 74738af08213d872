//! What a ruleset prints, with `nft` as the judge: it reads the text and makes of it what we make of the ruleset.

use ollama_guard::policy::*;
use ollama_guard::seatbelt::ruleset::{
    AddressType, Chain, Derived, Device, Elements, Family, Match, Rule, Ruleset, Set, Surroundings, Verdict, lower,
};
use ollama_guard::seatbelt::{Seatbelt, TABLE};

use crate::support::*;

/// One table is ours, the other is `nft`'s, made from the text. `nft` lists both, and finds no difference.
fn nft_agrees(rulesets: impl IntoIterator<Item = Ruleset>) {
    let (ours, nfts) = (Netns::new("ours"), Netns::new("nfts"));
    for ruleset in rulesets {
        ours.within(|| {
            let mut seatbelt = Seatbelt::open(TABLE).unwrap();
            seatbelt.unprotect(); // the flags are the keeper's, not the ruleset's
            seatbelt.remove().unwrap(); // nft lists sets in the order in which they were made
            seatbelt.apply(&ruleset).unwrap();
        });
        nfts.nft(&format!("flush ruleset; {ruleset}")).unwrap_or_else(|error| panic!("{error}\n{ruleset}"));
        let [ours, nfts] = [&ours, &nfts].map(|host| host.nft("list ruleset").unwrap());
        assert_eq!(ours, nfts, "{ruleset}");
    }
}

#[test]
fn nft_reads_every_kind_of_policy() {
    let rich = Policy {
        services: vec![service("ollama", &[11434], &[Protocol::Tcp]), service("dns", &[53, 5353], &[Protocol::Udp])],
        allow: vec![
            allow("192.168.1.50/32", Some("eth0"), Some("ollama")),
            allow("10.0.0.0/8", None, None),
            allow("fd00::/8", None, Some("dns")),
        ],
        ..policy()
    };
    let udp = Policy { services: vec![service("dns", &[53], &[Protocol::Udp])], ..policy() };
    let surroundings = Surroundings {
        containers: ["ai-net".parse().unwrap()].into(),
        not_containers: ["br-lan".parse().unwrap()].into(),
        with_containers: ["br-lan".parse().unwrap()].into(),
        bridges: ["br-lan".parse().unwrap(), "docker0".parse().unwrap()].into(),
        vrf_devices: ["red".parse().unwrap()].into(),
        bridges_translate: true,
        judged: ["docker0".parse().unwrap()].into(),
        derived: [Derived {
            protocol: Protocol::Tcp,
            port: 8080,
            addresses: ["0.0.0.0", "10.0.0.5", "::", "fd00::5"].map(|address| address.parse().unwrap()).into(),
            expected: true,
            service: "ollama".parse().unwrap(),
        }]
        .into(),
    };
    nft_agrees([
        lower(&policy(), &Surroundings::default()),
        lower(&rich, &surroundings),
        lower(&Policy { forwarded: Forwarded::Pass, ..rich.clone() }, &surroundings),
        lower(&Policy { mode: Mode::Observe, ..rich }, &surroundings),
        lower(&Policy { container_access: ContainerAccess::Allow, ..udp }, &surroundings),
    ]);
}

/// Those too that no policy combines like this.
#[test]
fn nft_reads_every_kind_of_match() {
    use AddressType::{Anycast, Broadcast, Local, Multicast, Unicast, Unreachable};
    let kinds = [Unicast, Local, Broadcast, Anycast, Multicast, Unreachable];
    let (names, ports, addresses) = ("names".to_owned(), "ports".to_owned(), "addresses".to_owned());
    let mut matches = vec![Match::NoMember, Match::NoIngress, Match::Translated, Match::Untracked];
    matches.extend([Match::ProtocolIsNeither, Match::DestinationNotIn(addresses.clone())]);
    matches.extend([Protocol::Tcp, Protocol::Udp].map(Match::ProtocolIsNot));
    matches.extend([Family::V4, Family::V6].map(Match::LaterFragment));
    for device in [Device::Ingress, Device::Egress, Device::Member] {
        matches.push(Match::DeviceIs(device, "eth0".parse().unwrap()));
        matches.extend([false, true].map(|negated| Match::Device { device, set: names.clone(), negated }));
    }
    for negated in [false, true] {
        matches.push(Match::Port { set: ports.clone(), negated });
        let ends = [(Family::V4, "v4_ends"), (Family::V6, "v6_ends")];
        matches.extend(ends.map(|(family, set)| Match::Endpoint { family, set: set.to_owned(), negated }));
        matches.extend(kinds.map(|kind| Match::Destination { kind, negated }));
    }
    let rule = |one| Rule {
        matches: vec![one],
        count_interface: None,
        counter: None,
        verdict: Verdict::Continue,
        comment: "one match".to_owned(),
    };
    let names = Set { name: names, elements: Elements::Names(patterns(&["eth0", "br-*"]).into_iter().collect()) };
    let ports = Set { name: ports, elements: Elements::Ports([(Protocol::Udp, 53)].into()) };
    let end = |ip: &str| (ip.parse().unwrap(), Protocol::Tcp, 8080);
    let v4 = Set { name: "v4_ends".to_owned(), elements: Elements::V4Endpoints([end("10.0.0.5")].into()) };
    let end = |ip: &str| (ip.parse().unwrap(), Protocol::Udp, 53);
    let v6 = Set { name: "v6_ends".to_owned(), elements: Elements::V6Endpoints([end("fd00::5")].into()) };
    let addresses = Set { name: addresses, elements: Elements::Addresses(kinds.into()) };
    nft_agrees([Ruleset {
        sets: vec![names, ports, v4, v6, addresses],
        counters: vec![],
        chains: vec![Chain { name: "matches".to_owned(), hook: None, rules: matches.into_iter().map(rule).collect() }],
    }]);
}
