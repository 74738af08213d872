//! **A bridge with strangers in it.** The host's address is on a bridge (`br0` of a hypervisor, a router's `br-lan`) whose
//! members are network cards or other people's machines. Frames arrive at a member, the bridge hands them up; with
//! `br_netfilter` loaded, as Docker and Kubernetes do, they pass the IP hooks of netfilter under the bridge's name even when
//! they only cross it. A guard must close the host and leave alone what goes from member to member.

use anyhow::{Context, Result};
use tests::claims::{answers, attempts};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::streams::Streams;
use crate::harness::{PORT, audits};

audits!(with_br_netfilter, without_br_netfilter);

fn with_br_netfilter(layers: Layers) -> Result<()> {
    bridge(layers, "1")
}

fn without_br_netfilter(layers: Layers) -> Result<()> {
    bridge(layers, "0")
}

fn bridge(layers: Layers, netfilter: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let lan = world.lan()?;
    let listener = Listener::http(&world.guard, PORT)?;
    world.guard.ip("link add br0 type bridge\n\
         link set br0 up\n\
         address add 203.0.113.1/24 dev br0\n\
         address add 2001:db8:1::1/64 dev br0 nodad")?;
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        world.guard.sysctl(&format!("net.bridge.{key}"), netfilter)?;
    }
    let members = [Netns::new("left")?, Netns::new("right")?];
    for (member, number) in members.iter().zip(2..) {
        world.guard.ip(&format!(
            "link add port{number} type veth peer name eth0 netns {}\nlink set port{number} master br0 up",
            member.name()
        ))?;
        member.ip(&format!(
            "link set eth0 up\n\
             address add 203.0.113.{number}/24 dev eth0\n\
             address add 2001:db8:1::{number}/64 dev eth0 nodad"
        ))?;
    }
    let [left, right] = &members;
    let _theirs = Listener::http(right, PORT)?;
    let across = [(left, "203.0.113.3".parse()?), (left, "2001:db8:1::3".parse()?)];
    answers(PORT, &across)?;

    let strangers = vec![(left, "203.0.113.1".parse()?), (right, "2001:db8:1::1".parse()?)];
    let friends = attempts([&lan]);
    let _guard =
        Streams { host: &world.guard, listener: &listener, port: PORT, strangers, friends, blind: &[] }.run(layers)?;
    answers(PORT, &across).context("from member to member")
}
