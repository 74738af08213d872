//! Rules of iptables, in tables of its own in the kernel and as translated to nftables; reloaded as iptables-persistent does.

use std::fs;

use anyhow::Result;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::World;
use tests::{leftovers, require, requires};

use crate::{OTHER, PORT, Reload, beside, coexist};

beside!(with_legacy_iptables, with_iptables_by_nftables);

fn with_legacy_iptables(layers: Layers) -> Result<()> {
    with(layers, "legacy")
}

fn with_iptables_by_nftables(layers: Layers) -> Result<()> {
    with(layers, "nft")
}

fn with(layers: Layers, variant: &str) -> Result<()> {
    let restore = ["iptables", "ip6tables"].map(|family| format!("{family}-{variant}-restore"));
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    require!(requires::tool(&restore[0]), requires::tool(&restore[1]));
    let world = World::new()?;
    let kernel = world.guard.run(&format!("iptables-{variant}"), &["-S"]);
    require!(kernel.map_err(|error| format!("needs a kernel that has it: {error:#}")));
    coexist(layers, &world, |host| start(host, restore))
}

fn start(host: &Netns, restore: [String; 2]) -> Result<Reload<'_>> {
    let folder = leftovers::folder()?;
    let files = ["rules.v4", "rules.v6"].map(|name| folder.path().join(name));
    for (file, icmp) in files.iter().zip(["icmp", "ipv6-icmp"]) {
        let rules = format!(
            "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
             -A INPUT -i lo -j ACCEPT\n\
             -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A INPUT -p {icmp} -j ACCEPT\n\
             -A INPUT -p tcp -m multiport --dports {PORT},{OTHER} -j ACCEPT\n\
             COMMIT\n"
        );
        fs::write(file, rules)?;
    }
    let load = move || {
        let _kept = &folder;
        let mut pairs = restore.iter().zip(&files);
        pairs.try_for_each(|(restore, file)| host.run(restore, &[&file.display().to_string()]).map(drop))
    };
    load()?;
    Ok(Box::new(load))
}
