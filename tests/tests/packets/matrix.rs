//! Every way to hide a port × every hook × every class × policies.

use anyhow::{Context, Result};
use ollama_guard::class::Class;
use tests::packet::Packet;
use tests::stand::{Loaded, Stand, Way};
use tests::{require, requires};

use crate::cases::{SERVICES, packets};

#[test]
fn the_default_policy() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix("")
}

#[test]
fn several_services() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(SERVICES)
}

#[test]
fn a_service_of_datagrams_only() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix("ollama = false\n[[service]]\nname = \"voice\"\nports = [11434]\nprotocols = [\"udp\"]")
}

#[test]
fn observing() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("mode = \"observe\"\n{SERVICES}"))
}

#[test]
fn passing_on_what_is_forwarded() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("forwarded = \"pass\"\n{SERVICES}"))
}

#[test]
fn containers_that_may_enter() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("{SERVICES}\n[interfaces]\ncontainer_access = \"allow\""))
}

#[test]
fn the_profile_for_a_lan() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    matrix(&format!("profile = \"lan\"\n{SERVICES}"))
}

#[test]
fn allowed_sources_by_prefix_service_and_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    let allow = r#"
        [[allow]]
        source = "192.0.2.0/24"
        service = "webui"
        [[allow]]
        source = "192.0.2.9/32"
        service = "ollama"
        [[allow]]
        source = "8.8.8.8/32"
        interface = "eth0"
        [[allow]]
        source = "198.51.100.0/24"
        interface = "eth1"
        [[allow]]
        source = "2001:db8::/64"
        service = "voice"
        [[allow]]
        source = "2001:db8::9/128"
        [[allow]]
        source = "2600::/16"
        interface = "eth1"
    "#;
    matrix(&format!("{SERVICES}\n{allow}"))
}

/// All packets by all ways on interfaces of all classes.
fn matrix(policy: &str) -> Result<()> {
    Stand::run(|stand| {
        for class in [Class::Guarded, Class::Container, Class::Trusted] {
            let mut loaded = stand.load(policy, class)?;
            for packet in packets() {
                meet(&mut loaded, &packet).with_context(|| format!("{class} interface, {packet:?}"))?;
            }
        }
        Ok(())
    })
}

/// One packet by every way: the verdict and every counter must follow from what is true of it.
fn meet(loaded: &mut Loaded, packet: &Packet) -> Result<()> {
    for way in Way::ALL {
        let told = loaded.meet(way, &packet.bytes())?;
        let expected = loaded.model.expects_of(way, packet);
        anyhow::ensure!(told == expected, "{way:?}: expected {expected:?}, got {told:?}");
    }
    Ok(())
}
