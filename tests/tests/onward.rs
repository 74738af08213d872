//! What the kernel sends onward by ways of its own: IPVS (keepalived, kube-proxy) translates at the end of input and sends from
//! the output hook, past the forward hook; and a bridge is crossed by what is routed and by what is not. How either looks to
//! rules is the kernel's affair, so this runs on each kernel.

use anyhow::{Context, Result, ensure};
use tests::claims::{Attempt, answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

const PORT: u16 = 11434;
/// What strangers are told.
const PUBLISHED: u16 = 8080;
const TRUSTED: &str = "[interfaces]\ntrusted = [\"lo\", \"lan0\"]\n[metrics]\nlisten = \"\"";

#[test]
#[ignore = "needs IPVS, which the virtual machines have: cargo xtask test --vm"]
fn ipvs_to_a_container() -> Result<()> {
    ipvs(true)
}

#[test]
#[ignore = "needs IPVS, which the virtual machines have: cargo xtask test --vm"]
fn ipvs_to_this_host() -> Result<()> {
    ipvs(false)
}

fn ipvs(to_a_container: bool) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ipvsadm"));
    load("ip_vs");
    require!(requires::file("/proc/net/ip_vs"));
    let world = World::new()?;
    let host = &world.guard;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let (server, real) = if to_a_container { (&container.ns, container.own) } else { (host, container.guard) };
    let listener = Listener::http(server, PORT)?;
    for side in [&internet, &lan] {
        let services = [
            (format!("{}", side.guard.v4), real.v4.to_string()),
            (format!("[{}]", side.guard.v6), format!("[{}]", real.v6)),
        ];
        for (address, real) in services {
            let service = format!("{address}:{PUBLISHED}");
            host.run("ipvsadm", &["-A", "-t", &service, "-s", "rr"])?;
            host.run("ipvsadm", &["-a", "-t", &service, "-r", &format!("{real}:{PORT}"), "-m"])?;
        }
    }
    let (strangers, friends) = (attempts([&internet]), attempts([&lan]));
    answers(PUBLISHED, &[&strangers[..], &friends].concat()).context("unguarded")?;
    for layers in [Layers::Seatbelt, Layers::Both] {
        let mut guard = Guard::start(host, &layers.policy(TRUSTED))?;
        silent(&listener, PUBLISHED, &strangers).with_context(|| format!("{layers:?}"))?;
        answers(PUBLISHED, &friends).with_context(|| format!("{layers:?}"))?;
        guard.down()?;
    }
    answers(PUBLISHED, &strangers).context("unguarded again")
}

/// Two networks on one bridge: what is routed between them is judged, what crosses the bridge is not.
#[test]
fn a_bridge_crossed_by_what_is_routed_and_what_is_bridged() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    load("br_netfilter");
    require!(requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let host = &world.guard;
    host.forward()?;
    host.ip("link add vmbr0 type bridge\nlink set vmbr0 up\naddress add 10.0.8.1/24 dev vmbr0\naddress add 10.0.9.1/24 dev vmbr0")?;
    let stranger = on_bridge(host, "eth9", "10.0.8.9", "10.0.8.1")?;
    let guest = on_bridge(host, "vnet0", "10.0.9.2", "10.0.9.1")?;
    let neighbour = on_bridge(host, "vnet1", "10.0.8.7", "10.0.8.1")?;
    for end in [&stranger, &guest] {
        end.sysctl("net.ipv4.conf.eth0.accept_redirects", "0")?;
        end.sysctl("net.ipv4.conf.all.accept_redirects", "0")?;
    }
    host.nft(&format!(
        "table ip other {{ chain nat {{ type nat hook prerouting priority -100;
         ip daddr 10.0.8.1 tcp dport {PUBLISHED} dnat to 10.0.9.2:{PORT}
         }}; }}"
    ))?;
    let (listener, _theirs) = (Listener::http(&guest, PORT)?, Listener::http(&neighbour, PORT)?);
    let translated: [Attempt<'_>; 1] = [(&stranger, "10.0.8.1".parse()?)];
    let (routed, bridged) = ([(&stranger, "10.0.9.2".parse()?)], [(&stranger, "10.0.8.7".parse()?)]);
    for netfilter in ["0", "1"] {
        host.sysctl("net.bridge.bridge-nf-call-iptables", netfilter)?;
        answers(PUBLISHED, &translated).context("unguarded")?;
        answers(PORT, &[&routed[..], &bridged].concat()).context("unguarded")?;
        let mut guard = Guard::start(host, &Layers::Seatbelt.policy(TRUSTED))?;
        silent(&listener, PUBLISHED, &translated).with_context(|| format!("translated, br_netfilter {netfilter}"))?;
        silent(&listener, PORT, &routed).with_context(|| format!("routed, br_netfilter {netfilter}"))?;
        answers(PORT, &bridged).with_context(|| format!("bridged, br_netfilter {netfilter}"))?;
        ensure!(guard.status()?["seatbelt"]["dropped_packets"].as_u64() > Some(0));
        guard.down()?;
    }
    Ok(())
}

/// Modules that nothing asks the kernel for; without them the test is skipped.
fn load(module: &str) {
    let _ = std::process::Command::new("modprobe").arg(module).stderr(std::process::Stdio::null()).status();
}

fn on_bridge(host: &Netns, port: &str, address: &str, gateway: &str) -> Result<Netns> {
    let end = Netns::new(port)?;
    host.ip(&format!(
        "link add {port} type veth peer name eth0 netns {}\nlink set {port} master vmbr0 up",
        end.name()
    ))?;
    end.ip(&format!("link set eth0 up\naddress add {address}/24 dev eth0\nroute add default via {gateway}"))?;
    Ok(end)
}
