use insta::assert_snapshot;

use super::*;

fn policy(text: &str) -> Policy {
    config::parse(Path::new("config.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}

const LOCAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

#[test]
fn the_defaults_in_words() {
    let policy = policy("");
    assert_snapshot!(describe(&policy));
    assert_eq!(suspicious(&policy, Some(LOCAL_PORTS)), [""; 0]);
}

const EVERYTHING: &str = r#"
profile = "lan"
mode = "observe"
attach = "xdp-generic"
forwarded = "pass"
wall = false
[[service]]
name = "ollama"
ports = [11434]
[[service]]
name = "web"
ports = [3000, 40000]
protocols = ["tcp", "udp"]
[interfaces]
trusted = ["eth*", "wg0"]
containers = ["docker0"]
container_access = "allow"
attach.eth1 = "tc"
[metrics]
listen = "0.0.0.0:19434"
[[allow]]
source = "0.0.0.0/0"
[[allow]]
source = "8.0.0.0/8"
service = "web"
comment = "no \u001b good"
[[allow]]
source = "10.1.0.0/16"
interface = "wg0"
[[allow]]
source = "10.1.0.0/16"
interface = "docker0"
[[allow]]
source = "10.1.0.0/16"
interface = "docker0"
"#;

#[test]
fn everything_that_can_be_said() {
    let policy = policy(EVERYTHING);
    assert_snapshot!(describe(&policy) + &warnings(&policy, Some(LOCAL_PORTS)));
}

#[test]
fn each_choice_in_its_words() {
    let line = |text: &str, what: &str| {
        let described = describe(&policy(text));
        let line = described.lines().find_map(|line| line.strip_prefix(&format!("{what:<17}")));
        line.unwrap_or_else(|| panic!("no {what} in {described}")).to_owned()
    };
    for (text, what, words) in [
        ("metrics.listen = \"\"", "metrics", "off"),
        ("metrics.listen = \"unix:/run/m.sock\"", "metrics", "unix:/run/m.sock"),
        ("seatbelt = false", "layers", "eBPF programs; nftables is SWITCHED OFF"),
        ("wall = false", "layers", "nftables; the eBPF programs are SWITCHED OFF"),
        ("wall = false\nseatbelt = false", "layers", "NONE: both are switched off"),
        ("wall = false\nseatbelt = false", "everything else", "NOT DROPPED: both layers are switched off"),
        ("attach = \"xdp\"", "hook", "native XDP"),
        ("attach = \"tc\"", "hook", "TC"),
        ("attach = \"clsact\"", "hook", "TC by a clsact filter"),
    ] {
        assert_eq!(line(text, what), words, "{text}");
    }
}

#[test]
fn everybody_trusted_and_no_loopback() {
    let everybody = policy("interfaces.trusted = [\"*\"]\nwall = false\nseatbelt = false");
    assert_snapshot!("everybody", warnings(&everybody, None));
    assert_snapshot!("no_loopback", warnings(&policy("interfaces.trusted = [\"wg0\"]\nseatbelt = false"), None));
}

#[test]
fn documents_for_scripts() {
    let json = |text| {
        let file = Path::new("config.toml");
        let policy = config::parse(file, text);
        serde_json::to_string_pretty(&document(file, policy.as_ref(), None, Some(LOCAL_PORTS))).unwrap()
    };
    assert_snapshot!("valid_json", json(""));
    assert_snapshot!("faulty_json", json("mode = \"off\"\nprofil = 1"));
}
