//! nftables' own service: `/etc/nftables.conf` begins with `flush ruleset`, and so every reload takes away everything.

use std::fs;

use anyhow::Result;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::World;
use tests::{leftovers, require, requires};

use crate::{OTHER, PORT, Reload, beside, coexist};

beside!(with_the_nftables_service);

fn with_the_nftables_service(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    coexist(layers, &World::new()?, start)
}

fn start(host: &Netns) -> Result<Reload<'_>> {
    let folder = leftovers::folder()?;
    let file = folder.path().join("nftables.conf");
    let rules = format!(
        "#!/usr/sbin/nft -f
         flush ruleset
         table inet filter {{
             chain input {{
                 type filter hook input priority filter; policy drop;
                 iifname lo accept
                 ct state established,related accept
                 meta l4proto {{ icmp, ipv6-icmp }} accept
                 tcp dport {{ {PORT}, {OTHER} }} counter accept
             }}
         }}"
    );
    fs::write(&file, rules)?;
    let load = move || {
        let _kept = &folder;
        host.run("nft", &["-f", &file.display().to_string()]).map(drop)
    };
    load()?;
    Ok(Box::new(load))
}
