//! The validated policy: what the user wants, in domain types that cannot hold nonsense.
//!
//! [`crate::config`] is the only place that builds a [`Policy`] from text; everything after it may rely on
//! the invariants documented here. Nothing in this module touches the kernel.

mod access;
mod allow;
mod interface;
mod listen;
mod service;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use access::Access;
pub use allow::{Allow, PRIVATE_SOURCES};
pub use interface::{InterfaceName, InvalidName, NamePattern};
pub use listen::{InvalidListen, Listen};
use serde::{Deserialize, Serialize};
pub use service::{InvalidService, MAX_SERVICES, OLLAMA, Protocol, Service, ServiceName};

/// Everything the guard enforces. Built by [`crate::config`]; serialised into the pinned policy map so that
/// `status` knows what is in force while no daemon runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The ring of trust that the defaults were taken from; informational.
    pub profile: Profile,
    /// Drop, or only count what would be dropped.
    pub mode: Mode,
    /// Which layers are installed.
    pub layers: Layers,
    /// Guard Ollama's own port besides the services that the file lists; false only if it says so.
    #[serde(default = "yes")]
    pub ollama: bool,
    /// What is guarded: between 1 and [`MAX_SERVICES`] services with distinct names; a (protocol, port) pair
    /// belongs to at most one.
    pub services: Vec<Service>,
    /// Interfaces whose traffic passes and is counted.
    pub trusted: Vec<NamePattern>,
    /// Names of interfaces that lead to containers or virtual machines, as far as no fact speaks against it.
    pub containers: Vec<NamePattern>,
    /// May containers reach the host's own guarded ports?
    pub container_access: ContainerAccess,
    /// Attach the counting program to `lo` too.
    pub count_loopback: bool,
    /// What a guarded interface does with packets the kernel would route to another machine.
    pub forwarded: Forwarded,
    /// Sources that may reach guarded ports, from guarded interfaces and from container bridges.
    pub allow: Vec<Allow>,
    /// Which hook the wall uses.
    pub attach: AttachPolicy,
    /// Bounds of the per-source counters.
    pub sources: SourceLimits,
    /// Where `/metrics` listens; `None` switches it off.
    pub metrics: Option<Listen>,
    /// Encryption and passwords of `/metrics`: a file in the format of Prometheus' exporter-toolkit.
    #[serde(default)]
    pub web_config: Option<PathBuf>,
    /// Where pins and the control socket live.
    pub paths: Paths,
}

/// More entries than fit what is written down for `status`: each takes 68 bytes at least.
const LONG_LIST: usize = 1000;

impl Policy {
    /// Is the allow-list too long to write down?
    pub fn has_long_list(&self) -> bool {
        self.allow.len() > LONG_LIST
    }

    /// The policy, without the entries of an allow-list that is too long to write down.
    #[must_use]
    pub fn without_long_list(&self) -> Self {
        let keep = if self.has_long_list() { 0 } else { self.allow.len() };
        Self {
            profile: self.profile,
            mode: self.mode,
            layers: self.layers,
            ollama: self.ollama,
            services: self.services.clone(),
            trusted: self.trusted.clone(),
            containers: self.containers.clone(),
            container_access: self.container_access,
            count_loopback: self.count_loopback,
            forwarded: self.forwarded,
            allow: self.allow[..keep].to_vec(),
            attach: self.attach.clone(),
            sources: self.sources,
            metrics: self.metrics.clone(),
            web_config: self.web_config.clone(),
            paths: self.paths.clone(),
        }
    }
}

/// Written by a version that knew no other.
const fn yes() -> bool {
    true
}

/// The three rings of trust (`profile = …`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Only loopback is trusted.
    Local,
    /// Loopback, Tailscale and WireGuard.
    #[default]
    Vpn,
    /// As `Vpn`, and private, unique-local and link-local sources on guarded interfaces.
    Lan,
}

/// Whether verdicts are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Drop what the policy says to drop.
    #[default]
    Enforce,
    /// Count what would be dropped, drop nothing.
    Observe,
}

/// Which of the two layers are wanted. Both by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// The eBPF programs.
    pub wall: bool,
    /// The nftables mirror.
    pub seatbelt: bool,
}

/// `container_access`: packets from a container bridge to the host's own guarded ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerAccess {
    /// Dropped.
    #[default]
    Deny,
    /// Passed and counted.
    Allow,
}

/// `forwarded`: packets to a guarded port that arrive on a guarded interface for another machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarded {
    /// Dropped: a container's own address is "another machine" to the kernel.
    #[default]
    Drop,
    /// Passed: this host routes for others.
    Pass,
}

/// `attach`: which hook the wall may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// Native XDP where it costs nothing and hides nothing, else TCX, else clsact.
    #[default]
    Auto,
    /// Native XDP.
    Xdp,
    /// Generic XDP.
    XdpGeneric,
    /// TCX, or clsact on kernels before 6.6.
    Tc,
    /// Clsact, on whatever kernel.
    Clsact,
}

/// The default hook and the exceptions by interface name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPolicy {
    /// For interfaces not named below.
    pub default: Attach,
    /// `[interfaces.attach]`.
    pub per_interface: BTreeMap<InterfaceName, Attach>,
}

impl AttachPolicy {
    /// The hook wanted for one interface.
    pub fn for_interface(&self, name: &InterfaceName) -> Attach {
        self.per_interface.get(name).copied().unwrap_or(self.default)
    }
}

/// `[sources]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLimits {
    /// Entries in the kernel's source table.
    pub tracked: u32,
    /// Sources with a metric series of their own.
    pub exported: u32,
}

impl Policy {
    /// A key that differs from the policy that was started with, and that a reload cannot change.
    pub fn fixed_until_restart(&self, started: &Self) -> Option<&'static str> {
        let differs = [
            ("paths.bpf", self.paths.bpf != started.paths.bpf),
            ("paths.run", self.paths.run != started.paths.run),
            ("sources.tracked", self.sources.tracked != started.sources.tracked),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(key, _)| key)
    }
}

/// `[paths]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// Directory on a BPF file system for links, maps and programs.
    pub bpf: PathBuf,
    /// Directory for the lock file and the control socket.
    pub run: PathBuf,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::config::built_in;

    /// What is pinned was written by any version, or by anybody: it is parsed like a configuration.
    #[test]
    fn names_that_no_configuration_could_hold_are_not_read_back() {
        for name in ["", "eth/0", "a b", "sixteen-bytes-xx"] {
            assert!(from_value::<InterfaceName>(json!(name)).is_err(), "{name:?}");
        }
        assert!(from_value::<NamePattern>(json!("a*b")).is_err());
        assert!(from_value::<ServiceName>(json!("open webui")).is_err());
        assert!(from_value::<Listen>(json!("localhost:1")).is_err());
        assert_eq!(json!(from_value::<InterfaceName>(json!("eth0")).unwrap()), json!("eth0"));
        for pattern in ["eth0", "br-*"] {
            assert_eq!(json!(from_value::<NamePattern>(json!(pattern)).unwrap()), json!(pattern));
        }
    }

    #[test]
    fn what_takes_a_restart_is_named() {
        let started = built_in();
        let mut other = Policy { mode: Mode::Observe, ..started.clone() };
        other.sources.exported = 1;
        assert_eq!(other.fixed_until_restart(&started), None);
        other.sources.tracked = 7;
        assert_eq!(other.fixed_until_restart(&started), Some("sources.tracked"));
        other.paths.run = "/run/other".into();
        assert_eq!(other.fixed_until_restart(&started), Some("paths.run"));
        other.paths.bpf = "/sys/fs/bpf/other".into();
        assert_eq!(other.fixed_until_restart(&started), Some("paths.bpf"));
    }

    #[test]
    fn only_the_allow_list_is_left_out_and_only_if_it_is_long() {
        let allow = Allow { source: PRIVATE_SOURCES[0], interface: None, service: None, comment: None, implied: false };
        let mut policy = built_in();
        policy.allow = vec![allow.clone(); LONG_LIST];
        assert!(!policy.has_long_list());
        assert_eq!(policy.without_long_list(), policy);
        policy.allow.push(allow);
        assert!(policy.has_long_list());
        assert_eq!(policy.without_long_list(), Policy { allow: vec![], ..policy });
    }
}
