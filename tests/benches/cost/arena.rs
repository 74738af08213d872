//! The hosts that are measured: the guarded one, one with a bare XDP program, and one for each peer.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;
use tests::guard::Guard;
use tests::netns::Netns;
use tests::process::Process;

use crate::bpf::{Kind, Program};
use crate::frames::MAC;

/// What the guarded host enforces: the same policy at both hooks; the eBPF layer alone, as it is measured.
pub(crate) const POLICY: &str = "
seatbelt = false
[interfaces]
trusted = []
containers = []
[interfaces.attach]
xdp0 = \"xdp\"
tc0 = \"tc\"
";

/// A host with one or more interfaces behind which the outside is.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its namespace.
    pub(crate) ns: Netns,
}

/// Both ends of a link into a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// Index on the host.
    pub(crate) inside: u32,
    /// Index outside.
    pub(crate) outside: u32,
}

impl Host {
    /// A host with no interfaces.
    pub(crate) fn new(role: &str) -> Result<Self> {
        Ok(Self { ns: Netns::new(role)? })
    }

    /// Links the outside to it by an interface of this name.
    pub(crate) fn door(&self, outside: &Netns, name: &str) -> Result<Door> {
        let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
        let far = format!("to-{name}");
        outside.ip(&format!(
            "link add {far} type veth peer name {name} address {mac} netns {}\nlink set {far} up",
            self.ns.name()
        ))?;
        self.ns.ip(&format!("link set {name} up"))?;
        // Without it a veth takes redirected frames only while an XDP program sits there.
        self.ns.run("ethtool", &["-K", name, "gro", "on"])?;
        Ok(Door { inside: index(&self.ns, name)?, outside: index(outside, &far)? })
    }
}

fn index(ns: &Netns, name: &str) -> Result<u32> {
    ns.enter(|| if_nametoindex(name))?.with_context(|| format!("the index of {name}"))
}

/// A program instance of the guard, by its family of hooks.
pub(crate) fn ours(guard: &Guard<'_>, kind: Kind) -> Result<Program> {
    let prefix = if kind == Kind::Xdp { "guarded-xdp-" } else { "guarded-tc-" };
    let pins = find(guard.pins().clone(), prefix)?;
    Program::pinned(kind, &pins.with_context(|| format!("no pin {prefix}* in {}", guard.pins().display()))?)
}

fn find(folder: PathBuf, prefix: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(Some(entry.path()));
        }
        if entry.file_type()?.is_dir()
            && let Some(found) = find(entry.path(), prefix)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// xdp-filter on an interface, dropping TCP to the guarded port: the smallest of its programs that can.
#[derive(Debug)]
pub(crate) struct XdpFilter {
    /// What a packet meets there: the dispatcher of xdp-tools and the filter in it.
    pub(crate) program: Program,
    #[expect(dead_code, reason = "holds the mount namespace in which its maps and links are pinned")]
    keeper: Process,
}

impl XdpFilter {
    /// Loads it by its own loader, which pins in a BPF file system that only it sees.
    pub(crate) fn start(host: &Host, interface: &str) -> Result<Self> {
        let script = format!(
            "mount -t bpf bpf /sys/fs/bpf && xdp-filter load --features tcp {interface} \
             && xdp-filter port --mode dst --proto tcp {} && echo loaded && exec sleep infinity",
            crate::frames::GUARDED
        );
        let mut keeper = host.ns.spawn("unshare", &["--mount", "sh", "-c", &script])?;
        keeper.logged("loaded", Duration::from_secs(20))?;
        let text = host.ns.run("ip", &["-json", "link", "show", interface])?;
        let link: serde_json::Value = serde_json::from_str(&text)?;
        let id = link[0]["xdp"]["prog"]["id"].as_u64().context("xdp-filter attached nothing")?;
        Ok(Self { program: Program::by_id(Kind::Xdp, u32::try_from(id)?)?, keeper })
    }
}

/// Frames an interface has received.
pub(crate) fn received(ns: &Netns, name: &str) -> Result<u64> {
    let text = ns.run("ip", &["-json", "-stats", "link", "show", name])?;
    let link: serde_json::Value = serde_json::from_str(&text)?;
    let packets = link[0]["stats64"]["rx"]["packets"].as_u64();
    ensure!(packets.is_some(), "ip tells no statistics of {name}");
    Ok(packets.unwrap_or_default())
}
