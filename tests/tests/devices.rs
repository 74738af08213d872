//! Devices on top of devices: VLAN, bond, VRF, macvlan, ipvlan and the kernel's own `WireGuard`. Each stands between the
//! wire and the host, so that a packet meets the guard on one interface, on the other, or on both. Strangers hear nothing
//! through any of them, and a name on the list of trusted ones opens what arrives by that name and nothing else.
//!
//! Many kernels are built without some of these; those of the virtual machines have them all: `cargo xtask test --vm`.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::claims::{Attempt, answers, answers_soon, attempts, silent};
use tests::frames::Wire;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::netns::Netns;
use tests::packet::{Network, Packet, V4, V6};
use tests::probe::{self, Outcome};
use tests::topology::{Side, World};
use tests::wireguard::{Tunnel, TunnelEnd};
use tests::{require, requires, wait};

const PORT: u16 = 11434;
const OTHER: u16 = 8080;

macro_rules! on_devices {
    ($module:ident, $layers:ident, $($test:ident),+ $(,)?) => {
        mod $module {
            $(#[test]
            #[ignore = "needs devices that this kernel may lack: cargo xtask test --vm"]
            fn $test() -> anyhow::Result<()> {
                super::$test(tests::layers::Layers::$layers)
            })+
        }
    };
}

macro_rules! in_each_arrangement {
    ($($test:ident),+ $(,)?) => {
        on_devices!(wall, Tc, $($test),+);
        on_devices!(seatbelt, Seatbelt, $($test),+);
        on_devices!(both, Both, $($test),+);
    };
}

in_each_arrangement!(
    vlan_in_the_frame,
    vlan_off_the_frame,
    bond,
    bond_in_reserve,
    brouted,
    vrf,
    macvlan,
    ipvlan_l2,
    ipvlan_l3,
    ipvlan_l2_elsewhere,
    ipvlan_l3_elsewhere,
    ipvlan_l3s_elsewhere,
    wireguard
);

/// What a list of trusted names opens, and to whom.
struct Trust<'a> {
    names: &'a [&'a str],
    opens: Vec<Attempt<'a>>,
}

/// With no name trusted nobody gets in; with each of the lists, those it opens the port to, and nobody else.
fn holds(world: &World, layers: Layers, everybody: &[Attempt<'_>], lists: &[Trust<'_>]) -> Result<()> {
    let listener = Listener::http(&world.guard, PORT)?;
    answers(PORT, everybody).context("an unguarded host")?;
    let policy = |names: &[&str]| {
        layers.policy(&format!("[interfaces]\ntrusted = {:?}\n[metrics]\nlisten = \"\"", [&["lo"], names].concat()))
    };
    let mut guard = Guard::managed(&world.guard, &policy(&[]))?;
    println!("{}", String::from_utf8_lossy(&guard.command(&["status", "--all"])?.stdout));
    silent(&listener, PORT, everybody).context("nothing trusted")?;
    for Trust { names, opens } in lists {
        // Interfaces change one after another: whether all have, cannot be seen from outside.
        guard.reload_managed(&policy(names))?;
        let opened = opens.iter().try_for_each(|attempt| answers_soon(PORT, *attempt));
        opened.with_context(|| format!("{names:?} trusted"))?;
        // By their answers: the last packets of those who were let in may come from the same address, and later.
        for (from, address) in everybody.iter().filter(|attempt| !includes(opens, attempt)) {
            let outcome = probe::http(from, *address, PORT)?;
            ensure!(outcome == Outcome::Silent, "{names:?} trusted, {address}: {outcome:?}");
        }
    }
    guard.down()?;
    answers(PORT, everybody).context("after `down`")
}

fn includes(attempts: &[Attempt<'_>], attempt: &Attempt<'_>) -> bool {
    attempts.iter().any(|(ns, address)| ns.name() == attempt.0.name() && *address == attempt.1)
}

/// The same namespace, at other addresses of the host.
fn at<'a>(side: &'a Side, addresses: [&str; 2]) -> Result<Vec<Attempt<'a>>> {
    addresses.iter().map(|address| Ok((&side.ns, address.parse()?))).collect()
}

fn vlan_in_the_frame(layers: Layers) -> Result<()> {
    vlan(layers, "off")
}

/// As a NIC does it: the tag arrives beside the frame, and XDP never sees it.
fn vlan_off_the_frame(layers: Layers) -> Result<()> {
    vlan(layers, "on")
}

fn vlan(layers: Layers, offload: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ethtool"));
    let world = World::new()?;
    let internet = world.internet()?;
    internet.ns.run("ethtool", &["-K", "eth0", "txvlan", offload])?;
    for (ns, parent, host) in [(&world.guard, "inet0", 1), (&internet.ns, "eth0", 2)] {
        ns.ip(&format!(
            "link add link {parent} name {parent}.7 type vlan id 7\n\
             link set {parent}.7 up\n\
             address add 10.7.0.{host}/24 dev {parent}.7\n\
             address add fd07::{host}/64 dev {parent}.7 nodad"
        ))?;
    }
    let (plain, tagged) = (attempts([&internet]), at(&internet, ["10.7.0.1", "fd07::1"])?);
    let everybody = [plain.clone(), tagged.clone()].concat();
    holds(
        &world,
        layers,
        &everybody,
        &[Trust { names: &["inet0.7"], opens: tagged }, Trust { names: &["inet0"], opens: plain }],
    )
}

/// A member of a bond is nobody: frames arrive on the bond.
fn bond(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.ip("link add bond0 type bond mode active-backup miimon 100\n\
         link set inet0 down\n\
         address flush dev inet0\n\
         link set inet0 master bond0\n\
         link set bond0 up\n\
         address add 203.0.113.1/24 dev bond0\n\
         address add 2001:db8:1::1/64 dev bond0 nodad")?;
    let everybody = attempts([&internet]);
    // The bond comes up when it has looked at its member's link.
    let listener = Listener::http(&world.guard, PORT)?;
    everybody.iter().try_for_each(|attempt| answers_soon(PORT, *attempt))?;
    drop(listener);
    holds(
        &world,
        layers,
        &everybody,
        &[Trust { names: &["inet0"], opens: Vec::new() }, Trust { names: &["bond0"], opens: everybody.clone() }],
    )
}

/// A member that the bond does not use keeps what is sent to link-local addresses to itself (`bond_handle_frame`,
/// `drivers/net/bonding/bond_main.c`): a datagram in such a frame arrives on the member.
fn bond_in_reserve(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.ip("link add spare0 type veth peer name spare1\n\
         link set spare1 up\n\
         link add bond0 type bond mode active-backup miimon 100\n\
         link set inet0 down\n\
         address flush dev inet0\n\
         link set spare0 master bond0\n\
         link set inet0 master bond0\n\
         link set bond0 up\n\
         address add 203.0.113.1/24 dev bond0\n\
         address add 2001:db8:1::1/64 dev bond0 nodad")?;
    let (port, other) = (UdpEcho::start(&world.guard, PORT)?, UdpEcho::start(&world.guard, OTHER)?);
    let wire = Wire::open(&internet.ns, "eth0")?;
    let frames = |port| {
        let v4 = Packet { network: Network::V4(V4::new(internet.own.v4, internet.guard.v4)), ..Packet::v4(port) };
        let v6 = Packet { network: Network::V6(V6::new(internet.own.v6, internet.guard.v6)), ..Packet::v6(port) };
        [v4, v6].map(|packet| Packet { to: [0x01, 0x80, 0xc2, 0, 0, 0x0e], ..packet.udp() }.bytes())
    };
    // How many of two reach the guarded port. Those to the other one say when they have had their time.
    let arrived = || -> Result<usize> {
        port.witness.clear();
        other.witness.clear();
        wait::until("the last ones", Duration::from_secs(20), || {
            let sent = [PORT, OTHER].iter().flat_map(|port| frames(*port)).try_for_each(|frame| wire.send(&frame));
            sent.is_ok() && internet.own.both().iter().all(|own| other.witness.sources().contains(own))
        })?;
        let knock = |address: &str| probe::udp(&world.guard, address.parse::<IpAddr>()?, PORT);
        ensure!([knock("127.0.0.1")?, knock("::1")?].iter().all(|knock| matches!(knock, Outcome::Open(_))));
        Ok(internet.own.both().iter().filter(|own| port.witness.sources().contains(own)).count())
    };
    ensure!(arrived()? == 2, "an unguarded host");
    let service = format!("[[service]]\nname = \"x\"\nports = [{PORT}]\nprotocols = [\"udp\"]\n");
    // By clsact, because before 6.6 veths in a bond have no program but by that.
    let policy = layers.policy(&format!("{service}[interfaces]\ntrusted = [\"lo\"]\n[metrics]\nlisten = \"\""));
    let mut guard = Guard::managed(&world.guard, &policy.replace("\"tc\"", "\"clsact\""))?;
    ensure!(arrived()? == 0, "a guarded one");
    if layers == Layers::Tc {
        ensure!(guard.interface("inet0")?["dropped_packets"].as_u64() >= Some(2), "{}", guard.interface("inet0")?);
    }
    guard.down()
}

/// A frame that a bridge is told to route (`br_handle_frame`, `net/bridge/br_input.c`) arrives on its port. The eBPF layer
/// sees what it sees of any frame, and cannot know; nftables stops it by the port's name.
fn brouted(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ebtables-legacy"));
    let world = World::new()?;
    let internet = world.internet()?;
    let rule = ["-t", "broute", "-A", "BROUTING", "-i", "inet0", "-j", "DROP"];
    if let Err(error) = world.guard.run("ebtables-legacy", &rule) {
        println!("this kernel does not know the table: {error:#}");
        return Ok(());
    }
    world.guard.ip("link add br0 type bridge\nlink set br0 up\nlink set inet0 master br0")?;
    let everybody = attempts([&internet]);
    let listener = Listener::http(&world.guard, PORT)?;
    everybody.iter().try_for_each(|attempt| answers_soon(PORT, *attempt)).context("an unguarded host")?;
    let mut guard =
        Guard::managed(&world.guard, &layers.policy("[interfaces]\ntrusted = [\"lo\"]\n[metrics]\nlisten = \"\""))?;
    if layers == Layers::Tc {
        answers(PORT, &everybody).context("what the eBPF layer cannot know")?;
    } else {
        silent(&listener, PORT, &everybody)?;
    }
    guard.down()
}

/// A slave of a VRF is judged by its own name; the kernel shows its packets twice, once as the VRF's.
fn vrf(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.sysctl("net.ipv4.tcp_l3mdev_accept", "1")?;
    world.guard.ip("link add red type vrf table 10\n\
         link set red up\n\
         link set inet0 master red\n\
         address replace 203.0.113.1/24 dev inet0\n\
         address replace 2001:db8:1::1/64 dev inet0 nodad")?;
    let everybody = attempts([&internet]);
    holds(
        &world,
        layers,
        &everybody,
        &[Trust { names: &["red"], opens: Vec::new() }, Trust { names: &["inet0"], opens: everybody.clone() }],
    )
}

fn macvlan(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (plain, child) = (attempts([&internet]), child(&world, &internet, "macvlan mode bridge")?);
    let everybody = [plain.clone(), child.clone()].concat();
    holds(
        &world,
        layers,
        &everybody,
        &[Trust { names: &["child0"], opens: child }, Trust { names: &["inet0"], opens: plain }],
    )
}

fn ipvlan_l2(layers: Layers) -> Result<()> {
    ipvlan(layers, "ipvlan mode l2")
}

fn ipvlan_l3(layers: Layers) -> Result<()> {
    ipvlan(layers, "ipvlan mode l3")
}

/// An ipvlan child shares its parent's MAC address, so that the eBPF layer sees its packets as the parent's, and both have to
/// be trusted. nftables sees them as the child's alone.
fn ipvlan(layers: Layers, kind: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let (plain, child) = (attempts([&internet]), child(&world, &internet, kind)?);
    if kind.ends_with("l3") {
        // Such a child does not say where it is: whoever wants to reach it has a route by its parent.
        for (_, address) in &child {
            let parent = if address.is_ipv4() { IpAddr::from(internet.guard.v4) } else { internet.guard.v6.into() };
            internet.ns.ip(&format!("route add {address} via {parent}"))?;
        }
    }
    let everybody = [plain.clone(), child.clone()].concat();
    let alone = if layers.counts() { Vec::new() } else { child };
    holds(
        &world,
        layers,
        &everybody,
        &[
            Trust { names: &["child0"], opens: alone },
            Trust { names: &["inet0"], opens: plain },
            Trust { names: &["inet0", "child0"], opens: everybody.clone() },
        ],
    )
}

fn ipvlan_l2_elsewhere(layers: Layers) -> Result<()> {
    ipvlan_elsewhere(layers, "l2")
}

fn ipvlan_l3_elsewhere(layers: Layers) -> Result<()> {
    ipvlan_elsewhere(layers, "l3")
}

/// In this mode the host's input hook sees the child's packets, as its own: nftables closes the child.
fn ipvlan_l3s_elsewhere(layers: Layers) -> Result<()> {
    if layers != Layers::Tc {
        return Ok(());
    }
    ipvlan_elsewhere(layers, "l3s")
}

/// A child in a container is another machine, as a macvlan child is, and may have an Ollama of its own; its parent is closed
/// all the same, by whichever of its addresses. The eBPF layer needs a host that forwards, as those with containers do.
fn ipvlan_elsewhere(layers: Layers, mode: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.forward()?;
    world.guard.ip("address add 10.99.0.1/32 dev lo\naddress add fd99::1/128 dev lo")?;
    let listener = Listener::http(&world.guard, PORT)?;
    // As a container engine does it: made here, then moved.
    let other = Netns::new("other")?;
    world
        .guard
        .ip(&format!("link add child1 link inet0 type ipvlan mode {mode}\nlink set child1 netns {}", other.name()))?;
    other.ip("link set lo up\n\
         link set child1 up\n\
         address add 203.0.113.44/24 dev child1\n\
         address add 2001:db8:1::44/64 dev child1 nodad")?;
    let _theirs = Listener::http(&other, PORT)?;
    let child = at(&internet, ["203.0.113.44", "2001:db8:1::44"])?;
    let far = at(&internet, ["10.99.0.1", "fd99::1"])?;
    let by_parent = if mode == "l2" { far.clone() } else { [far.clone(), child.clone()].concat() };
    for (_, address) in by_parent {
        let parent = if address.is_ipv4() { IpAddr::from(internet.guard.v4) } else { internet.guard.v6.into() };
        internet.ns.ip(&format!("route add {address} via {parent}"))?;
    }
    let host = [attempts([&internet]), far].concat();
    answers(PORT, &[child.clone(), host.clone()].concat()).context("an unguarded host")?;

    let policy = layers.policy("[interfaces]\ntrusted = [\"lo\"]\n[metrics]\nlisten = \"\"");
    let mut guard = Guard::managed(&world.guard, &policy)?;
    silent(&listener, PORT, &host).context("the host beside a child")?;
    answers(PORT, &child).context("another's Ollama by the same MAC address")?;
    guard.down()
}

/// A child of `inet0` in the same namespace, with addresses of its own.
fn child<'a>(world: &World, internet: &'a Side, kind: &str) -> Result<Vec<Attempt<'a>>> {
    // The parent would answer for the child's address, and the frames would go to its MAC.
    world.guard.sysctl("net.ipv4.conf.inet0.arp_ignore", "1")?;
    world.guard.ip(&format!(
        "link add link inet0 name child0 type {kind}\n\
         link set child0 up\n\
         address add 203.0.113.33/24 dev child0\n\
         address add 2001:db8:1::33/64 dev child0 nodad"
    ))?;
    at(internet, ["203.0.113.33", "2001:db8:1::33"])
}

fn wireguard(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("wg"));
    let world = World::new()?;
    let internet = world.internet()?;
    let [near, far] = [["10.9.0.1", "fd09::1"], ["10.9.0.2", "fd09::2"]];
    let end = |ns, interface, inside: [&str; 2], outside| {
        let inside = [inside[0].parse()?, inside[1].parse()?];
        anyhow::Ok(TunnelEnd { ns, interface, inside, outside })
    };
    let ends =
        [end(&world.guard, "wg0", near, internet.guard.v4)?, end(&internet.ns, "wg-home", far, internet.own.v4)?];
    Tunnel::in_the_kernel(&ends[0], &ends[1])?;
    for (ns, interface, [v4, v6]) in [(&world.guard, "wg0", near), (&internet.ns, "wg-home", far)] {
        ns.ip(&format!(
            "link set {interface} up\n\
             address add {v4}/24 dev {interface}\n\
             address add {v6}/64 dev {interface} nodad"
        ))?;
    }
    let (plain, inside) = (attempts([&internet]), at(&internet, near)?);
    let everybody = [plain.clone(), inside.clone()].concat();
    holds(
        &world,
        layers,
        &everybody,
        &[Trust { names: &["wg0"], opens: inside }, Trust { names: &["inet0"], opens: plain }],
    )
}
