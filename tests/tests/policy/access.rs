//! Who may: the profiles, `[[allow]]`, and trusted interfaces by name and by prefix.

use anyhow::Result;
use tests::claims::{Attempt, answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;

for_each_arrangement!(
    profile_local_trusts_loopback_only,
    profile_lan_allows_private_sources,
    an_allow_admits_its_source_and_nobody_else,
    an_allow_counts_only_on_its_interface_and_for_its_service,
    an_allow_admits_a_container_and_no_other,
    a_prefix_trusts_what_it_covers,
);

fn profile_local_trusts_loopback_only(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::wireguard());
    let world = World::new()?;
    let internet = world.internet()?;
    let vpn = world.vpn(&internet)?;
    let listener = Listener::http(&world.guard, PORT)?;
    answers(PORT, &attempts([&internet, &vpn.side]))?;

    let _guard = Guard::start(&world.guard, &layers.policy("profile = \"local\""))?;
    silent(&listener, PORT, &attempts([&internet, &vpn.side]))?;
    let own: Vec<Attempt<'_>> = ["127.0.0.1", "::1", "10.9.0.1", "203.0.113.1"]
        .into_iter()
        .map(|address| Ok((&world.guard, address.parse()?)))
        .collect::<Result<_>>()?;
    answers(PORT, &own)
}

fn profile_lan_allows_private_sources(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    // A link-local pair, as computers that find no DHCP server give themselves.
    world.guard.ip("address add 169.254.1.1/16 dev lan0")?;
    lan.ns.ip("address add 169.254.1.50/16 dev eth0")?;
    let guard = Guard::start(&world.guard, &layers.policy("profile = \"lan\""))?;

    answers(PORT, &attempts([&lan]))?;
    answers(PORT, &[(&lan.ns, "169.254.1.1".parse()?)])?;
    // A container's address is private too, but its bridge is of another class.
    silent(&listener, PORT, &attempts([&internet, &container]))?;
    let row = guard.interface("lan0")?;
    assert!(!layers.counts() || row["passes"]["allowed"].as_u64() > Some(0), "{row:#}");
    Ok(())
}

fn an_allow_admits_its_source_and_nobody_else(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (laptop, lan) = (world.laptop(&internet)?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    // A host, and a network around another one that is written with its host bits cut off.
    let allows = r#"
        [[allow]]
        source = "198.51.100.7"
        [[allow]]
        source = "2001:db8:2::/64"
    "#;
    let _guard = Guard::start(&world.guard, &layers.policy(allows))?;
    answers(PORT, &attempts([&laptop]))?;
    // The same interface, another source; and another interface.
    silent(&listener, PORT, &attempts([&internet, &lan]))
}

fn an_allow_counts_only_on_its_interface_and_for_its_service(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (listener, webui) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, 3000)?);
    let allows = r#"
        [[service]]
        name = "ollama"
        ports = [11434]
        [[service]]
        name = "webui"
        ports = [3000]
        [[allow]]
        source = "0.0.0.0/0"
        interface = "lan0"
        [[allow]]
        source = "::/0"
        interface = "lan0"
        [[allow]]
        source = "203.0.113.0/24"
        service = "webui"
        [[allow]]
        source = "2001:db8:1::/64"
        service = "webui"
    "#;
    let _guard = Guard::start(&world.guard, &layers.policy(allows))?;
    answers(PORT, &attempts([&lan]))?;
    answers(3000, &attempts([&lan, &internet]))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    assert!(webui.accepted().len() >= 4);
    Ok(())
}

fn an_allow_admits_a_container_and_no_other(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    // Another container on the same bridge.
    let other = tests::netns::Netns::new("other")?;
    world.guard.ip(&format!(
        "link add veth1 type veth peer name eth0 netns {}\nlink set veth1 master docker0 up",
        other.name()
    ))?;
    other.ip("link set eth0 up\naddress add 172.17.0.3/16 dev eth0\naddress add fd17::3/64 dev eth0 nodad")?;
    let (listener, webui) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, 3000)?);
    let allows = |interface: &str| {
        format!(
            r#"
            [[service]]
            name = "ollama"
            ports = [11434]
            [[service]]
            name = "webui"
            ports = [3000]
            [[allow]]
            source = "172.17.0.2"
            interface = "{interface}"
            service = "ollama"
            [[allow]]
            source = "fd17::2"
            service = "ollama"
        "#
        )
    };
    let others = container.guard.both().map(|address| (&other, address));
    let mut guard = Guard::start(&world.guard, &layers.policy(&allows("docker0")))?;
    answers(PORT, &attempts([&container]))?;
    silent(&listener, PORT, &others)?;
    silent(&webui, 3000, &attempts([&container]))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let row = guard.interface("docker0")?;
    assert!(!layers.counts() || row["passes"]["allowed"].as_u64() > Some(0), "{row:#}");

    guard.reload(&layers.policy(&allows("inet0")))?;
    tests::claims::silent_soon(PORT, (&container.ns, container.guard.v4.into()))?;
    answers(PORT, &[(&container.ns, container.guard.v6.into())])
}

fn a_prefix_trusts_what_it_covers(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let _guard =
        Guard::start(&world.guard, &layers.policy("[interfaces]\ntrusted = [\"lo\", \"la*\"]\ncount_loopback = true"))?;
    answers(PORT, &attempts([&lan]))?;
    answers(PORT, &[(&world.guard, "127.0.0.1".parse()?)])?;
    silent(&listener, PORT, &attempts([&internet]))
}
