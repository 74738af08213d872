//! Facts → which ports stay open.

use std::path::Path;

use super::*;
use crate::config::parse;

fn listener(protocol: Protocol, address: &str, port: u16, process: &str) -> Listener {
    Listener { protocol, address: address.parse().unwrap(), port, process: process.to_owned() }
}

fn danger_at(protocol: Protocol, port: u16, listener: &Listener) -> Option<String> {
    danger(protocol, port.try_into().unwrap(), std::slice::from_ref(listener)).map(|danger| danger.to_string())
}

/// The ports that stay open, if these are guarded and these listen.
fn spared(service: &str, listeners: &[Listener]) -> Vec<u16> {
    let policy = parse(Path::new("f"), &format!("[[service]]\nname = \"x\"\n{service}")).unwrap();
    judge(&policy, listeners).iter().map(|spared| spared.port.get()).collect()
}

#[test]
fn sshd_on_another_port_is_seen() {
    let sshd = listener(Protocol::Tcp, "0.0.0.0", 2222, "sshd");
    assert_eq!(danger_at(Protocol::Tcp, 2222, &sshd).unwrap(), "sshd (SSH) listens on tcp 2222");
    assert_eq!(danger_at(Protocol::Udp, 2222, &sshd), None);
}

#[test]
fn a_well_known_port_needs_no_listener() {
    let other = listener(Protocol::Tcp, "::", 1, "other");
    assert_eq!(danger_at(Protocol::Udp, 51_820, &other).unwrap(), "udp 51820 is WireGuard's port");
    assert_eq!(danger_at(Protocol::Tcp, 11_434, &other), None);
}

#[test]
fn a_forward_of_an_ssh_session_on_loopback_is_no_danger() {
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(danger_at(Protocol::Tcp, 11_434, &listener(Protocol::Tcp, address, 11_434, "sshd")), None);
    }
}

#[test]
fn what_tailscale_serves_on_the_tailnet_is_no_danger() {
    let serve = listener(Protocol::Tcp, "100.64.0.1", 11_434, "tailscaled");
    assert_eq!(danger_at(Protocol::Tcp, 11_434, &serve), None);
    let tunnel = listener(Protocol::Udp, "::", 40_000, "tailscaled");
    assert!(danger_at(Protocol::Udp, 40_000, &tunnel).is_some());
}

#[test]
fn the_only_way_in_stays_open() {
    let ssh = |port| listener(Protocol::Tcp, "0.0.0.0", port, "sshd");
    assert_eq!(spared("ports = [2222, 8080]", &[ssh(2222)]), [2222]);
    assert_eq!(spared("ports = [22, 8080]", &[]), [22], "it may start later");
    assert_eq!(spared("ports = [22, 2222]", &[ssh(2222)]), [22, 2222], "all of them are guarded");
    assert_eq!(spared("ports = [51820]\nprotocols = [\"tcp\", \"udp\"]", &[]), [51_820]);
}

#[test]
fn one_way_in_of_several_is_guarded_as_it_is_written() {
    let ssh = |port| listener(Protocol::Tcp, "0.0.0.0", port, "sshd");
    assert!(spared("ports = [11434]", &[ssh(22), ssh(11_434)]).is_empty());
    assert!(spared("ports = [22]", &[ssh(22), ssh(2222)]).is_empty());
    let local = listener(Protocol::Tcp, "127.0.0.1", 22, "sshd");
    assert_eq!(spared("ports = [2222]", &[ssh(2222), local]), [2222], "nobody gets in over loopback");
    let vpn = listener(Protocol::Tcp, "0.0.0.0", 1194, "openvpn");
    assert_eq!(spared("ports = [2222]", &[ssh(2222), vpn]), [2222], "that is another way in");
    assert!(spared("ports = [22]\ninsist = true", &[ssh(22)]).is_empty());
}

#[test]
fn only_what_is_spared_is_left_out() {
    let text = "[[service]]\nname = \"a\"\nports = [22, 8080]\n[[service]]\nname = \"b\"\nports = [51820]\nprotocols = [\"udp\"]\n\
                [[allow]]\nsource = \"192.0.2.1\"\nservice = \"b\"\n[[allow]]\nsource = \"192.0.2.2\"\n";
    let policy = parse(Path::new("f"), text).unwrap();
    let spared = judge(&policy, &[]);
    assert_eq!(spared.len(), 2, "{spared:?}");
    assert!(spared[0].to_string().contains("port 22 of the service \"a\" is left OPEN"), "{}", spared[0]);
    let rest = spare(policy, &spared);
    let ports: Vec<_> = rest.services.iter().flat_map(|service| &service.ports).map(|port| port.get()).collect();
    assert!(ports.ends_with(&[8080]) && !ports.contains(&22) && !ports.contains(&51_820), "{ports:?}");
    assert_eq!(rest.allow.len(), 1, "an address that may reach nothing");
}

/// A name is not enough, nor is an effective user of a set-user-id program.
#[test]
fn root_is_who_started_as_root() {
    assert!(host::is_roots("Name:\tsshd\nUid:\t0\t0\t0\t0\nGid:\t0\n"));
    for users in ["1000\t0\t0\t0", "0\t1000\t0\t0", "0\t0\t1000\t0", "0", ""] {
        assert!(!host::is_roots(&format!("Uid:\t{users}\n")), "{users}");
    }
    assert!(!host::is_roots("Name:\tsshd\n"));
}
