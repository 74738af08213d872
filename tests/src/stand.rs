//! A test stand for the kernel programs: loaded by the real loader, in a namespace whose routes are known, with a
//! model beside them that says for each packet what must happen.

mod loaded;
mod model;
mod network;
mod seen;
mod truth;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ollama_guard::class::Class;
use ollama_guard::config;
use ollama_guard::datapath::{Enforced, PinDirectory, Reading, Receives, Target, Wall};
use ollama_guard::plan::hook::Hook;
use ollama_guard::plan::rules::KernelRules;
use ollama_guard::plan::services::ServiceTable;
use ollama_guard::policy::Policy;
use ollama_guard_common::Outcome;
use ollama_guard_common::abi::{ABI_VERSION, Counter, ServiceIndex};

use crate::leftovers::{self, BPFFS};
use crate::netns::Netns;
use crate::prog_run::{PerCpuMap, Program};

pub use loaded::Loaded;
pub use model::Model;
pub use network::{NEIGHBOUR, NETWORK};
pub use seen::{Oddity, Seen};

/// The name of the stand's interface.
pub const INTERFACE: &str = "eth0";
/// Its MAC address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// How a frame meets a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The XDP program.
    Xdp,
    /// The TC program for devices with an Ethernet header.
    Tc,
    /// The TC program for devices without one, which sees the frame from its network header on.
    TcLayer3,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::Tc, Self::TcLayer3];
}

/// A change of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// For which service.
    pub service: ServiceIndex,
    /// As what.
    pub outcome: Outcome,
    /// How much.
    pub counter: Counter,
}

/// The stand. Its methods are called on a thread in its namespace: see [`Stand::run`].
#[derive(Debug)]
pub struct Stand {
    wall: Wall,
    pins: Pins,
    interface: u32,
    services: ServiceTable,
}

/// The pin directory; dropping it unpins everything.
#[derive(Debug)]
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Stand {
    /// Makes a namespace with one interface and known routes, and runs a test in it.
    pub fn run<T: Send>(test: impl FnOnce(&mut Self) -> Result<T> + Send) -> Result<T> {
        Self::run_beside(|stand, _| test(stand))
    }

    /// The same, with the namespace of whoever is at the other end of the link, whose interface is `far0`.
    pub fn run_beside<T: Send>(test: impl FnOnce(&mut Self, &Netns) -> Result<T> + Send) -> Result<T> {
        let (ns, peer) = (Netns::new("stand")?, Netns::new("far")?);
        ns.forward()?;
        ns.ip(&format!("link add {INTERFACE} type veth peer name far0 netns {}", peer.name()))?;
        ns.ip(&network::SETUP.replace("INTERFACE", INTERFACE))?;
        peer.ip("link set far0 mtu 9000 up")?;
        ns.enter(|| test(&mut Self::new()?, &peer))?
    }

    fn new() -> Result<Self> {
        let pins = Pins(PathBuf::from(BPFFS).join(leftovers::unique_name("stand")));
        let wall = Wall::create(PinDirectory::at(&pins.0), 65536)?;
        let interface = nix::net::if_::if_nametoindex(INTERFACE)?;
        Ok(Self { wall, pins, interface, services: ServiceTable::default() })
    }

    /// Everything the programs have counted.
    pub fn reading(&self) -> Result<Reading> {
        Ok(self.wall.reading()?)
    }

    /// What was counted on the interface, by service and outcome.
    pub fn counted(&self) -> Result<Vec<Counted>> {
        let reading = self.reading()?;
        let counters = reading.interfaces.get(&self.interface).map(|interface| interface.counters.iter());
        let counters = counters.into_iter().flatten();
        Ok(counters.map(|(&(service, outcome), &counter)| Counted { service, outcome, counter }).collect())
    }

    /// The interface's index.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// The model of what a configuration means for an interface of this class; nothing is loaded.
    pub fn model(&mut self, text: &str, class: Class) -> Result<Model> {
        Ok(self.lower(text, class)?.0)
    }

    /// Attaches to the interface by this hook what a configuration means for an interface of this class.
    /// `layer3`: by the program for devices without an Ethernet header.
    pub fn enforce(&mut self, text: &str, class: Class, hook: Hook, layer3: bool) -> Result<Model> {
        let (model, rules) = self.lower(text, class)?;
        self.attach(&rules, hook, layer3)?;
        Ok(model)
    }

    /// Loads all programs for what a configuration means for an interface of this class.
    pub fn load(&mut self, text: &str, class: Class) -> Result<Loaded> {
        let (model, rules) = self.lower(text, class)?;
        let programs = self.pins.0.join(format!("v{ABI_VERSION}")).join("programs");
        let open = |enforced: Enforced| Program::open(&programs.join(enforced.key.as_str()));
        let xdp = open(self.attach(&rules, Hook::XdpGeneric, false)?)?;
        let layer3 = open(self.attach(&rules, Hook::Tcx, true)?)?;
        let tc = open(self.attach(&rules, Hook::Tcx, false)?)?;
        let maps = self.pins.0.join(format!("v{ABI_VERSION}")).join("maps");
        let interfaces = PerCpuMap::open(&maps.join("interfaces"))?;
        Loaded::new(model, [xdp, tc, layer3], interfaces, self.interface)
    }

    fn lower(&mut self, text: &str, class: Class) -> Result<(Model, KernelRules)> {
        let policy: Policy = config::parse(Path::new("test.toml"), text)?;
        self.services = self.services.update(&policy).0;
        let name = INTERFACE.parse()?;
        let rules = KernelRules::lower(&policy, &self.services, &BTreeSet::new(), class, &name);
        Ok((Model::new(policy, self.services.clone(), class, name), rules))
    }

    fn attach(&mut self, rules: &KernelRules, hook: Hook, layer3: bool) -> Result<Enforced> {
        let attachments = self.wall.standing()?.attachments;
        let current = attachments.iter().find(|attachment| attachment.interface == self.interface);
        let target = Target {
            interface: self.interface,
            name: INTERFACE,
            receives: if layer3 { Receives::Packets } else { Receives::Frames },
            current,
            native: false,
            makes_no_qdisc: false,
            rules,
            hooks: &[hook],
        };
        Ok(self.wall.enforce(&target)?)
    }
}
