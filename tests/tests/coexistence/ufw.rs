//! ufw, Ubuntu's firewall: enabled, told to let everybody to the port, reloaded.

use anyhow::Result;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::World;
use tests::ufw::Ufw;
use tests::{require, requires};

use crate::{OTHER, PORT, Reload, beside, coexist};

beside!(with_ufw);

fn with_ufw(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ufw"), requires::tool("nft"));
    coexist(layers, &World::new()?, start)
}

fn start(host: &Netns) -> Result<Reload<'_>> {
    let ufw = Ufw::enable(host)?;
    for port in [PORT, OTHER] {
        ufw.run(&["allow", &port.to_string()])?;
    }
    Ok(Box::new(move || ufw.run(&["reload"])))
}
