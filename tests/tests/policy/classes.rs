//! Who is a container: facts decide, in both directions and at once, whatever a name says. Each arrangement is one that
//! people have, or one that looks like it; the traffic is tried before and after what makes the difference.

use std::net::IpAddr;

use anyhow::Result;
use tests::claims::{Attempt, answers, answers_soon, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::{Side, World};
use tests::{for_each_arrangement, require, requires};

use super::PORT;

for_each_arrangement!(
    an_uplink_is_none_whatever_its_bridge_is_called,
    what_is_joined_to_an_uplink_is_none,
    a_port_that_is_no_container_s_takes_the_class_away,
    a_network_under_a_name_of_its_own_is_one_of_containers,
    pods_without_a_bridge_are_containers,
    a_pair_with_a_network_is_a_container_s_by_name,
    a_lost_class_is_lost_in_both_directions,
);

const ALLOW: &str = "[interfaces]\ncontainer_access = \"allow\"";

/// Waits until the guard has done it, in the layers there are.
fn becomes(guard: &mut Guard<'_>, layers: Layers, interface: &str, class: &str) -> Result<()> {
    if layers.counts() {
        guard.attached_as(interface, class)?;
    }
    guard.interface_when(interface, class, |row| row["class"] == class)?;
    guard.enforces()
}

/// Puts the internet's interface into a bridge, which takes over its addresses and the default route.
fn bridge_the_internet(world: &World, internet: &Side, bridge: &str) -> Result<()> {
    let (guard, own) = (internet.guard, internet.own);
    world.guard.ip(&format!(
        "link add {bridge} type bridge\n\
         address flush dev inet0\n\
         link set inet0 master {bridge}\n\
         link set {bridge} up\n\
         address add {}/24 dev {bridge}\n\
         address add {}/64 dev {bridge} nodad\n\
         route replace default via {}\n\
         route replace default via {}",
        guard.v4, guard.v6, own.v4, own.v6
    ))
}

/// From the internet straight to a container's own address.
fn straight<'a>(internet: &'a Side, container: &Side) -> Result<[Attempt<'a>; 2]> {
    for (network, gateway) in [("172.17.0.0/16", internet.guard.both()[0]), ("fd17::/64", internet.guard.both()[1])] {
        internet.ns.ip(&format!("route replace {network} via {gateway}"))?;
    }
    Ok(container.own.both().map(|address| (&internet.ns, address)))
}

/// The host is a guest in a container itself, or its router is one: the uplink is one end of a pair.
fn an_uplink_is_none_whatever_its_bridge_is_called(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    for bridge in ["br-lan", "lan0"] {
        let world = World::new()?;
        let (internet, container) = (world.internet()?, world.container()?);
        let listeners = [Listener::http(&world.guard, PORT)?, Listener::http(&container.ns, PORT)?];
        bridge_the_internet(&world, &internet, bridge)?;
        let inside = straight(&internet, &container)?;
        answers(PORT, &attempts([&internet]))?;
        answers(PORT, &inside)?;

        let mut guard = Guard::start(&world.guard, &layers.policy(ALLOW))?;
        becomes(&mut guard, layers, bridge, "guarded")?;
        silent(&listeners[0], PORT, &attempts([&internet]))?;
        silent(&listeners[1], PORT, &inside)?;
        let problems = guard.status()?["problems"].to_string();
        let told = problems.contains(&format!("{bridge} carries a default route"));
        assert_eq!(told, bridge == "br-lan", "{problems}");
        answers(PORT, &attempts([&container]))?;

        // By name, as long as nothing speaks against it; and no longer.
        if bridge == "br-lan" {
            let own = internet.own;
            world.guard.ip(&format!("route delete default via {}\nroute delete default via {}", own.v4, own.v6))?;
            becomes(&mut guard, layers, bridge, "container")?;
            answers(PORT, &attempts([&internet]))?;
            world.guard.ip(&format!("route add default via {} table 7", own.v6))?;
            becomes(&mut guard, layers, bridge, "guarded")?;
            silent(&listeners[0], PORT, &attempts([&internet]))?;
        }
    }
    Ok(())
}

/// A pair of which both ends are here is a cable between two bridges.
fn what_is_joined_to_an_uplink_is_none(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    bridge_the_internet(&world, &internet, "up0")?;
    let mut guard = Guard::start(&world.guard, &layers.policy(ALLOW))?;
    answers(PORT, &attempts([&container]))?;

    world.guard.ip("link add patch0 type veth peer name patch1\n\
         link set patch0 master docker0 up\nlink set patch1 master up0 up")?;
    becomes(&mut guard, layers, "docker0", "guarded")?;
    silent(&listener, PORT, &attempts([&internet, &container]))?;
    // Somebody beyond the uplink takes an address of the containers.
    internet.ns.ip("address add 172.17.0.9/16 dev eth0")?;
    silent(&listener, PORT, &[(&internet.ns, container.guard.v4.into())])?;
    world.guard.ip("link delete patch0")?;
    becomes(&mut guard, layers, "docker0", "container")?;
    answers(PORT, &attempts([&container]))
}

/// A VPN's tap, a tunnel, a child of a network card; a virtual machine's tap is one of ours.
fn a_port_that_is_no_container_s_takes_the_class_away(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (lan, container) = (world.lan()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &layers.policy(ALLOW))?;
    let device = lan.interface;
    for (make, name, foreign) in [
        ("tuntap add dev vm0 mode tap vnet_hdr".to_owned(), "vm0", false),
        ("tuntap add dev ztab mode tap".to_owned(), "ztab", true),
        (format!("link add vx0 type vxlan id 7 dstport 4789 dev {device} remote {}", lan.own.v4), "vx0", true),
        (format!("link add link {device} name mv0 type macvlan mode private"), "mv0", true),
        ("link add gt0 type gretap remote 192.168.77.50 local 192.168.77.1".to_owned(), "gt0", true),
    ] {
        if let Err(error) = world.guard.ip(&make) {
            println!("skipped: this kernel has no {name}: {error:#}");
            continue;
        }
        world.guard.ip(&format!("link set {name} master docker0 up"))?;
        becomes(&mut guard, layers, "docker0", if foreign { "guarded" } else { "container" })?;
        if foreign {
            let problems = guard.status()?["problems"].to_string();
            assert!(problems.contains(&format!("but {name} is a")), "{problems}");
            silent(&listener, PORT, &attempts([&container]))?;
        }
        world.guard.ip(&format!("link delete {name}"))?;
        becomes(&mut guard, layers, "docker0", "container")?;
        answers(PORT, &attempts([&container]))?;
    }
    Ok(())
}

/// `com.docker.network.bridge.name`, or a bridge that somebody made for his virtual machines.
fn a_network_under_a_name_of_its_own_is_one_of_containers(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container_on("ai-net")?);
    let (listener, _remote) = (Listener::http(&world.guard, PORT)?, Listener::http(&internet.ns, PORT)?);
    straight(&internet, &container)?;
    let onward = internet.own.both().map(|address| (&container.ns, address));
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    becomes(&mut guard, layers, "ai-net", "container")?;
    answers(PORT, &onward)?;
    silent(&listener, PORT, &attempts([&container, &internet]))?;
    let row = guard.interface("ai-net")?;
    let why = row["hook_reason"].to_string();
    assert!(!layers.counts() || why.contains("leads to containers and virtual machines only"), "{row:#}");

    guard.reload(&layers.policy(ALLOW))?;
    answers_soon(PORT, (&container.ns, container.guard.v4.into()))?;
    answers(PORT, &attempts([&container]))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    // It has become the way to a router, or a public network.
    for change in ["route add 10.0.0.0/8 via 172.17.0.2", "address add 198.51.100.1/28 dev ai-net"] {
        world.guard.ip(change)?;
        becomes(&mut guard, layers, "ai-net", "guarded")?;
        silent(&listener, PORT, &attempts([&container]))?;
        world.guard.ip(&change.replace(" add ", " delete "))?;
        becomes(&mut guard, layers, "ai-net", "container")?;
        answers(PORT, &attempts([&container]))?;
    }
    Ok(())
}

/// As Calico and the CNI plugin `ptp` do it: an address of its own at the end of each pair.
fn pods_without_a_bridge_are_containers(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    world.guard.forward()?;
    let pods = [Netns::new("pod1")?, Netns::new("pod2")?];
    let addresses: [IpAddr; 2] = ["10.244.0.11".parse()?, "10.244.0.12".parse()?];
    for ((pod, address), name) in pods.iter().zip(addresses).zip(["cali1", "cali2"]) {
        world.guard.ip(&format!(
            "link add {name} type veth peer name eth0 netns {}\n\
             address add 169.254.1.1/32 dev {name}\nlink set {name} up\nroute add {address} dev {name}",
            pod.name()
        ))?;
        pod.ip(&format!(
            "address add {address}/32 dev eth0\nlink set eth0 up\n\
             route add 169.254.1.1 dev eth0\nroute add default via 169.254.1.1 dev eth0"
        ))?;
    }
    let [pod, other] = &pods;
    let (listener, theirs) = (Listener::http(&world.guard, PORT)?, Listener::http(other, PORT)?);
    let (across, home) = ([(pod, addresses[1])], [(pod, "169.254.1.1".parse()?)]);
    let from_lan = [(&lan.ns, addresses[1])];
    lan.ns.ip(&format!("route add 10.244.0.0/16 via {}", lan.guard.v4))?;
    answers(PORT, &across)?;
    answers(PORT, &from_lan)?;
    for policy in ["", "[interfaces]\ncontainers = [\"docker0\", \"cali*\"]"] {
        let mut guard = Guard::start(&world.guard, &layers.policy(policy))?;
        becomes(&mut guard, layers, "cali1", "container")?;
        becomes(&mut guard, layers, "cali2", "container")?;
        answers(PORT, &across)?;
        silent(&listener, PORT, &home)?;
        silent(&theirs, PORT, &from_lan)?;
        // A router in a container: what comes from there may come from anywhere.
        world.guard.ip(&format!("route add default via {} dev cali1 onlink table 7", addresses[0]))?;
        becomes(&mut guard, layers, "cali1", "guarded")?;
        silent(&theirs, PORT, &across)?;
        world.guard.ip("route delete default dev cali1 table 7")?;
        becomes(&mut guard, layers, "cali1", "container")?;
        answers(PORT, &across)?;
        guard.down()?;
    }
    Ok(())
}

/// `systemd-nspawn`'s. By facts alone it could be the way to a router in a container.
fn a_pair_with_a_network_is_a_container_s_by_name(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    world.guard.forward()?;
    let machine = Netns::new("machine")?;
    world.guard.ip(&format!(
        "link add ve-web type veth peer name host0 netns {}\naddress add 192.168.9.1/28 dev ve-web\nlink set ve-web up",
        machine.name()
    ))?;
    machine.ip("address add 192.168.9.2/28 dev host0\nlink set host0 up")?;
    let listener = Listener::http(&world.guard, PORT)?;
    let home = [(&machine, "192.168.9.1".parse()?)];
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    becomes(&mut guard, layers, "ve-web", "container")?;
    silent(&listener, PORT, &home)?;
    guard.reload(&layers.policy(ALLOW))?;
    answers_soon(PORT, home[0])?;
    world.guard.ip("link set ve-web down\nlink set ve-web name lan7\nlink set lan7 up")?;
    becomes(&mut guard, layers, "lan7", "guarded")?;
    silent(&listener, PORT, &home)
}

/// With `forwarded = "pass"` too, where only nftables knows: the containers are still behind it.
fn a_lost_class_is_lost_in_both_directions(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    for bridge in ["docker0", "ai-net"] {
        let world = World::new()?;
        let (internet, container) = (world.internet()?, world.container_on(bridge)?);
        let (theirs, remote) = (Listener::http(&container.ns, PORT)?, Listener::http(&internet.ns, PORT)?);
        let inside = straight(&internet, &container)?;
        let onward = internet.own.both().map(|address| (&container.ns, address));
        world.guard.ip("tuntap add dev ztab mode tap\nlink set ztab up")?;

        let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
        becomes(&mut guard, layers, bridge, "container")?;
        answers(PORT, &onward)?;
        silent(&theirs, PORT, &inside)?;
        world.guard.ip(&format!("link set ztab master {bridge}"))?;
        becomes(&mut guard, layers, bridge, "guarded")?;
        silent(&remote, PORT, &onward)?;
        silent(&theirs, PORT, &inside)?;

        guard.reload(&layers.policy("forwarded = \"pass\""))?;
        answers_soon(PORT, onward[0])?;
        if matches!(layers, Layers::Seatbelt | Layers::Both) {
            silent(&theirs, PORT, &inside)?;
            world.guard.ip("link set ztab nomaster")?;
            becomes(&mut guard, layers, bridge, "container")?;
            silent(&theirs, PORT, &inside)?;
        }
    }
    Ok(())
}
