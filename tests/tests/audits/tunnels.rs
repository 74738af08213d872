//! **Through a tunnel.** A packet to the port inside another packet: VXLAN and Geneve over UDP, GRE, IP in IP, IPv6 in IPv4
//! (RFC 7348, RFC 8926, RFC 2784, RFC 2003, RFC 4213). Many such tunnels ask nobody who he is: whoever knows the host's
//! address can put packets into them (CVE-2020-10136; CVE-2024-7595: "millions of hosts accept unauthenticated tunnel traffic").
//! What looks at the outer packet sees a protocol or port that is allowed. The inner one appears on an interface of its
//! own, which is not trusted and so is guarded, however late it came.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use tests::claims::attempts;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::{Side, World};
use tests::{require, requires};

use crate::harness::streams::Streams;
use crate::harness::{PORT, audits};

audits!(tunnels);

/// How `ip link add` makes each kind, between LOCAL and REMOTE. What a kernel has not is left out; VXLAN all have.
const KINDS: [&str; 7] = [
    "vxlan id 7 dstport 4789 local LOCAL remote REMOTE",
    "geneve id 7 remote REMOTE",
    "gre local LOCAL remote REMOTE",
    "gretap local LOCAL remote REMOTE",
    "ipip local LOCAL remote REMOTE",
    "sit local LOCAL remote REMOTE",
    "ip6gre local LOCAL6 remote REMOTE6",
];

/// One end of the `number`th tunnel, with the last part of its inner addresses.
fn end(ns: &Netns, number: usize, kind: &str, [near, far]: [&Side; 2], is_host: bool) -> Result<IpAddr> {
    let (last, local, remote) = if is_host { (1, near.guard, far.own) } else { (2, near.own, far.guard) };
    let kind = kind
        .replace("LOCAL6", &local.v6.to_string())
        .replace("REMOTE6", &remote.v6.to_string())
        .replace("LOCAL", &local.v4.to_string())
        .replace("REMOTE", &remote.v4.to_string());
    ns.ip(&format!("link add tunnel{number} type {kind}"))?;
    // A sit tunnel carries IPv6 only.
    let inner: IpAddr = if kind.starts_with("sit") {
        format!("fd66:{number}::{last}").parse()?
    } else {
        format!("10.66.{number}.{last}").parse()?
    };
    let (bits, flags) = if inner.is_ipv6() { (64, "nodad") } else { (24, "") };
    ns.ip(&format!("link set tunnel{number} mtu 1280 up\naddress add {inner}/{bits} dev tunnel{number} {flags}"))?;
    Ok(inner)
}

fn tunnels(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let mut strangers = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        match end(&world.guard, number, kind, [&internet; 2], true) {
            Ok(inner) => {
                end(&internet.ns, number, kind, [&internet; 2], false)?;
                strangers.push((&internet.ns, inner));
            }
            Err(error) if number == 0 => return Err(error),
            Err(_) => println!("this kernel has no {}", kind.split(' ').next().unwrap_or(kind)),
        }
    }
    ensure!(!strangers.is_empty());
    let friends = attempts([&lan]);
    Streams { host: &world.guard, listener: &listener, port: PORT, strangers, friends, blind: &[] }
        .run(layers)
        .map(drop)
}
