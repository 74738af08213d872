use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::links::{Kind, Links, Routes};
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
        .map(|&(source, packets)| Passed { interface: wg0, source: source.parse::<IpAddr>().unwrap(), packets })
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
