//! Files that are accepted, and what they mean.

use super::super::{ConfigError, built_in, load};
use super::policy;
use crate::policy::{Attach, Mode, NamePattern, PRIVATE_SOURCES, Policy, Protocol};

fn spelt(patterns: &[NamePattern]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.services.iter().map(|service| service.name.as_str()).collect()
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(policy(""), built_in());
}

#[test]
fn the_file_we_ship_shows_the_defaults() {
    assert_eq!(policy(include_str!("../../../../dist/config.toml")), built_in());
}

#[test]
fn the_examples_in_the_file_we_ship_are_valid() {
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(code) if code.contains(" = ") || code.starts_with("[[") => code.to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    let text: String = include_str!("../../../../dist/config.toml").lines().map(uncommented).collect();
    let policy = policy(&text);
    assert_eq!(policy.attach.for_interface(&"eth1".parse().unwrap()), Attach::Tc);
    assert_eq!(policy.allow[0].source.to_string(), "192.168.1.50/32");
    assert_eq!(policy.allow[0].comment.as_deref(), Some("the desk"));
}

#[test]
fn only_the_default_path_may_be_missing() {
    let missing = std::env::temp_dir().join("ollama-guard-no-such-file.toml");
    let error = load(Some(&missing)).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    assert!(error.to_string().contains("built-in defaults"), "{error}");
}

#[test]
fn the_profiles_are_three_rings_of_trust() {
    let local = policy("profile = \"local\"");
    assert_eq!((spelt(&local.trusted), local.allow.len()), (vec!["lo".into()], 0));
    let vpn = policy("profile = \"vpn\"");
    assert_eq!((spelt(&vpn.trusted).len(), vpn.allow.len()), (3, 0));
    let lan = policy("profile = \"lan\"");
    assert_eq!(lan.trusted, vpn.trusted);
    let private = lan.allow.iter().map(|allow| allow.source.to_string()).collect::<Vec<_>>();
    let documented = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
    assert_eq!(private, documented);
}

#[test]
fn explicit_keys_override_the_profile() {
    let policy = policy("profile = \"local\"\n[interfaces]\ntrusted = [\"lo\", \"wg*\"]");
    assert_eq!(spelt(&policy.trusted), ["lo", "wg*"]);
}

#[test]
fn allows_are_added_to_those_of_the_profile() {
    let policy = policy("profile = \"lan\"\n[[allow]]\nsource = \"203.0.113.0/24\"\nservice = \"ollama\"");
    assert_eq!(policy.allow.len(), PRIVATE_SOURCES.len() + 1);
}

#[test]
fn whether_one_insists_is_read_and_judged_elsewhere() {
    let insists = |text: &str| policy(&format!("[[service]]\nname = \"ssh\"\nports = [22]\n{text}")).services[1].insist;
    assert!(insists("insist = true") && !insists("insist = false") && !insists(""));
}

/// Ollama stays guarded whatever else is listed, unless the file says otherwise in so many words.
#[test]
fn ollama_stays_guarded_beside_other_services() {
    let service = |name: &str, ports: &str| format!("[[service]]\nname = \"{name}\"\nports = [{ports}]\n");
    let guarded = |text: &str| names(&policy(text)).join(" ");
    assert_eq!(guarded(&service("webui", "3000")), "ollama webui");
    assert_eq!(guarded(&(service("a", "1") + &service("b", "2"))), "ollama a b");
    assert_eq!(guarded(&service("llm", "11434")), "llm", "it covers the port");
    assert_eq!(guarded(&service("ollama", "11435")), "ollama", "it has the name");
    assert_eq!(policy(&service("ollama", "11435")).services[0].ports.first().unwrap().get(), 11_435);
    let voice = service("voice", "11434") + "protocols = [\"udp\"]\n";
    assert_eq!(guarded(&voice), "ollama voice", "another protocol is another port");
    assert_eq!(guarded(&("ollama = false\n".to_owned() + &service("webui", "3000"))), "webui");
    assert_eq!(guarded(&("ollama = true\n".to_owned() + &service("webui", "3000"))), "ollama webui");
    let allowed = service("webui", "3000") + "[[allow]]\nsource = \"10.0.0.1\"\nservice = \"ollama\"\n";
    assert_eq!(policy(&allowed).allow.len(), 1, "it can be named in an [[allow]]");
}

#[test]
fn one_port_may_be_two_services_in_two_protocols() {
    let service =
        |name, protocol| format!("[[service]]\nname = \"{name}\"\nports = [1]\nprotocols = [\"{protocol}\"]\n");
    assert_eq!(names(&policy(&(service("a", "tcp") + &service("b", "udp")))), ["ollama", "a", "b"]);
}

#[test]
fn metrics_that_strangers_could_reach_are_guarded() {
    assert_eq!(policy("metrics.listen = \"127.0.0.2:9\"").services.len(), 1);
    assert_eq!(policy("metrics.listen = \"\"").metrics, None);
    let socket = policy("metrics.listen = \"unix:/run/m.sock\"");
    assert_eq!((socket.services.len(), socket.metrics.unwrap().to_string()), (1, "unix:/run/m.sock".to_owned()));
    for address in ["0.0.0.0:9100", "[::]:9100", "192.168.1.2:9100"] {
        let policy = policy(&format!("metrics.listen = \"{address}\""));
        let [_, metrics] = policy.services.as_slice() else { panic!("{:?}", policy.services) };
        assert_eq!((metrics.name.as_str(), metrics.ports.first().unwrap().get()), ("metrics", 9100));
        assert!(metrics.protocols.contains(&Protocol::Tcp));
    }
}

#[test]
fn a_small_source_table_bounds_the_exported_ones() {
    let policy = policy("mode = \"observe\"\nsources.tracked = 16");
    assert_eq!((policy.sources.tracked, policy.sources.exported), (16, 16));
    assert_eq!(policy.mode, Mode::Observe);
}

#[test]
fn every_example_in_the_documentation_is_valid() {
    let readme = include_str!("../../../../README.md");
    let guide = include_str!("../../../../docs/configuration.md");
    let blocks = [readme, guide].into_iter().flat_map(|text| text.split("```toml\n").skip(1));
    let examples: Vec<_> = blocks.filter_map(|block| block.split("```").next()).collect();
    assert!(examples.len() >= 7, "the examples are found");
    for example in examples {
        policy(example);
    }
}
