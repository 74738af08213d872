//! What applies where the file says nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use crate::policy::{
    Allow, AttachPolicy, ContainerAccess, Forwarded, Layers, Listen, Mode, NamePattern, OLLAMA, PRIVATE_SOURCES, Paths,
    Policy, Profile, Protocol, Service, SourceLimits,
};

/// The bridges that container engines and hypervisors make, and the pairs of `systemd-nspawn`: those have a network, and
/// nothing but their name tells them from the way to a router.
const CONTAINERS: [&str; 14] = [
    "docker0",
    "docker_gwbridge",
    "br-*",
    "podman*",
    "nerdctl*",
    "cni*",
    "virbr*",
    "lxcbr*",
    "lxdbr*",
    "incusbr*",
    "mpqemubr*",
    "kube-bridge",
    "ve-*",
    "vz-*",
];

/// The policy of a file that holds nothing but `profile`.
pub(super) fn policy(profile: Profile) -> Policy {
    Policy {
        profile,
        mode: Mode::default(),
        layers: Layers { wall: true, seatbelt: true },
        ollama: true,
        services: vec![ollama()],
        trusted: patterns(trusted(profile)),
        containers: patterns(&CONTAINERS),
        container_access: ContainerAccess::default(),
        count_loopback: false,
        forwarded: Forwarded::default(),
        allow: allow(profile),
        attach: AttachPolicy::default(),
        sources: SourceLimits { tracked: 65_536, exported: 100 },
        metrics: Some(Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 19_434)))),
        web_config: None,
        paths: Paths { bpf: "/sys/fs/bpf/ollama-guard".into(), run: "/run/ollama-guard".into() },
    }
}

/// The built-in service.
pub(super) fn ollama() -> Service {
    Service {
        name: "ollama".parse().expect("the built-in name is valid"),
        ports: BTreeSet::from([OLLAMA]),
        protocols: BTreeSet::from([Protocol::Tcp]),
        insist: false,
    }
}

const fn trusted(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Local => &["lo"],
        Profile::Vpn | Profile::Lan => &["lo", "tailscale0", "wg0"],
    }
}

fn allow(profile: Profile) -> Vec<Allow> {
    let sources: &[_] = if profile == Profile::Lan { &PRIVATE_SOURCES } else { &[] };
    let comment = Some("profile = \"lan\"".to_owned());
    let allow = |&source| Allow { source, interface: None, service: None, comment: comment.clone(), implied: true };
    sources.iter().map(allow).collect()
}

fn patterns(names: &[&str]) -> Vec<NamePattern> {
    names.iter().map(|name| name.parse().expect("the built-in patterns are valid")).collect()
}
