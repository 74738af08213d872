use insta::assert_snapshot;

use super::*;
use crate::findings::of_policy;

fn policy(text: &str) -> Policy {
    config::parse(Path::new("config.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}

/// What the policy by itself gives reason to say.
fn said(policy: &Policy) -> Vec<Finding> {
    of_switches(policy).into_iter().chain(of_policy(policy)).collect()
}

#[test]
fn the_defaults_in_words() {
    let policy = policy("");
    assert_snapshot!(describe(&policy, None));
    assert_eq!(said(&policy), []);
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
    assert_snapshot!(describe(&policy, None) + &warnings(&said(&policy)));
}

#[test]
fn each_choice_in_its_words() {
    let line = |text: &str, what: &str| {
        let described = describe(&policy(text), None);
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
    assert_snapshot!("everybody", warnings(&said(&everybody)));
    assert_snapshot!("no_loopback", warnings(&said(&policy("interfaces.trusted = [\"wg0\"]\nseatbelt = false"))));
}

#[test]
fn documents_for_scripts() {
    let json = |text| {
        let file = Path::new("config.toml");
        let checked = config::parse(file, text).map(|policy| {
            let warnings = said(&policy);
            Sound { policy, web: None, warnings, hints: Vec::new() }
        });
        serde_json::to_string_pretty(&document(file, &checked)).unwrap()
    };
    assert_snapshot!("valid_json", json(""));
    assert_snapshot!("faulty_json", json("mode = \"off\"\nprofil = 1"));
}

/// Told where the configuration names it, with what to do.
#[test]
fn a_web_configuration_that_is_missing_or_faulty() {
    let folder = std::env::temp_dir().join(format!("og-check-web-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, web) = (folder.join("config.toml"), folder.join("web.yml"));
    let text = format!("[metrics]\nweb_config = \"{}\"\n", web.display());
    std::fs::write(&file, &text).unwrap();
    let error = || with_web(&file, policy(&text)).err().unwrap().to_string();
    assert!(error().contains("config.toml:2:14: metrics.web_config: cannot read the metrics' web configuration"));
    assert!(error().contains("  next: create it"), "{}", error());
    std::fs::write(&web, "basic_auth_user:\n  a: b\n").unwrap();
    assert!(error().contains("web.yml:1:1: ") && error().contains("did you mean `basic_auth_users`?"), "{}", error());
    std::fs::write(&web, "tls_server_config:\n  cert_file: none.pem\n  key_file: none.key\n").unwrap();
    assert!(error().contains("cert_file: ") && error().contains("none.pem"), "{}", error());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_web_configuration_in_words() {
    let text = "[metrics]\nlisten = \"127.0.0.1:9\"\nweb_config = \"/etc/web.yml\"";
    let line = |asks| {
        let described = describe(&policy(text), Some(&asks));
        described.lines().skip_while(|line| !line.starts_with("metrics")).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let asks = web::Asks { tls: true, client_certificates: true, users: 1 };
    assert_eq!(
        line(asks),
        [
            "metrics          https://127.0.0.1:9/metrics",
            "                 /etc/web.yml: TLS, a client certificate, a password (1 user)"
        ]
    );
    let asks = web::Asks { tls: false, client_certificates: false, users: 0 };
    assert_eq!(line(asks)[0], "metrics          http://127.0.0.1:9/metrics");
    assert!(line(asks)[1].ends_with("asks for nothing"));
}
