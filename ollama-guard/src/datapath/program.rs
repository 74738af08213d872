//! Program instances: one per distinct policy of an interface and per family of hooks.

use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

use aya::maps::Map as AyaMap;
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use ipnet::IpNet;
use ollama_guard_common::abi::{AllowKeyV4, AllowKeyV6, ServiceSet};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::map::Map;
use super::shared::NAMES;
use super::{DatapathError, PinDirectory, sys};
use crate::class::Class;
use crate::plan::rules::KernelRules;

/// The kernel object, compiled by `build.rs`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ollama-guard.bpf.o"));

/// Tells builds of it apart. It is long, and asked for on every interface in every pass.
static BUILD: LazyLock<u64> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    OBJECT.hash(&mut hasher);
    hasher.finish()
});

/// Which of the kernel programs an interface needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// XDP, native or generic.
    Xdp,
    /// TC on a device with an Ethernet header.
    Tc,
    /// TC on a layer-3 device.
    TcLayer3,
}

impl Family {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
            Self::TcLayer3 => "tc-l3",
        }
    }

    /// Tried in order; the first error is the one reported. Multi-buffer XDP came with 5.18.
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Xdp => &["guard_xdp_frags", "guard_xdp"],
            Self::Tc => &["guard_tc"],
            Self::TcLayer3 => &["guard_tc_l3"],
        }
    }
}

/// Names a program instance after everything it enforces: equal keys, equal behaviour. Also its pin's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramKey(String);

impl ProgramKey {
    /// The key of these rules at this family of hooks, for this build of the kernel object.
    pub fn new(rules: &KernelRules, family: Family) -> Self {
        let mut hasher = DefaultHasher::new();
        BUILD.hash(&mut hasher);
        rules.hash(&mut hasher);
        Self(format!("{}-{}-{:016x}", rules.class, family.as_str(), hasher.finish()))
    }

    /// Does a pin of this name hold a program for interfaces of this class?
    pub fn is_of_class(pin: &str, class: Class) -> bool {
        pin.split_once('-').is_some_and(|(prefix, _)| prefix == class.as_str())
    }

    /// The pin's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProgramKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A loaded program.
#[derive(Debug)]
pub(super) struct Instance {
    /// Keeps it loaded.
    pub(super) fd: OwnedFd,
    /// The kernel's id.
    pub(super) id: u32,
}

impl Instance {
    /// Opens the program pinned under `name`, if there is one.
    pub(super) fn open(pins: &PinDirectory, name: &str) -> Option<Self> {
        let fd = sys::open_pin(&pins.programs().join(name)).ok()?;
        let id = sys::program_id(fd.as_fd()).ok()?;
        Some(Self { fd, id })
    }

    /// Loads and pins the program `key` names.
    pub(super) fn load(
        pins: &PinDirectory,
        key: &ProgramKey,
        rules: &KernelRules,
        family: Family,
        tracked: u32,
    ) -> Result<Self, DatapathError> {
        let mut first = None;
        for program in family.programs() {
            match load(pins, rules, program, tracked) {
                Ok(mut ebpf) => return pin(pins, key, &mut ebpf, program),
                Err(DatapathError::NotPermitted) => return Err(DatapathError::NotPermitted),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(DatapathError::NotPermitted))
    }
}

/// Creates and pins the shared maps that are missing, so that the state has a place before any interface wants a program.
pub(super) fn create_maps(pins: &PinDirectory, tracked: u32) -> Result<(), DatapathError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("strangers", tracked);
    for name in NAMES {
        loader.map_pin_path(name, pins.map(name));
    }
    loader.load(OBJECT).map(drop).map_err(|error| {
        if is_denied(&error) { DatapathError::NotPermitted } else { load_error("kernel object: its maps", &error) }
    })
}

/// Creates the maps and loads one program, with its constants and allow-lists in place and frozen.
fn load(pins: &PinDirectory, rules: &KernelRules, name: &'static str, tracked: u32) -> Result<Ebpf, DatapathError> {
    let seed = u32::try_from(std::hash::RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0);
    let constants = rules.constants(seed);
    let (v4, v6) = allow_lists(rules);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("RULES", constants.as_bytes(), true)
        .map_max_entries("strangers", tracked)
        .map_max_entries("allow_v4", entries(&v4))
        .map_max_entries("allow_v6", entries(&v6));
    for name in NAMES {
        loader.map_pin_path(name, pins.map(name));
    }
    let failed = |error: &dyn std::error::Error| load_error(name, error);
    let mut ebpf = loader.load(OBJECT).map_err(|error| match &error {
        EbpfError::MapError(_) | EbpfError::BtfError(_) if is_denied(&error) => DatapathError::NotPermitted,
        _ => failed(&error),
    })?;
    fill(&ebpf, "allow_v4", &v4)?;
    fill(&ebpf, "allow_v6", &v6)?;
    let program = ebpf.program_mut(name).ok_or_else(|| failed(&ProgramError::NotLoaded))?;
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| if is_denied(&error) { DatapathError::NotPermitted } else { failed(&error) })?;
    #[cfg(feature = "debug-log")]
    super::debug::follow(&mut ebpf);
    Ok(ebpf)
}

fn pin(
    pins: &PinDirectory,
    key: &ProgramKey,
    ebpf: &mut Ebpf,
    program: &'static str,
) -> Result<Instance, DatapathError> {
    let path = pins.programs().join(key.as_str());
    let loaded = ebpf.program(program).ok_or_else(|| load_error(program, &ProgramError::NotLoaded))?;
    let fd = match loaded {
        Program::Xdp(program) => program.fd(),
        Program::SchedClassifier(program) => program.fd(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| load_error(program, &error))?;
    sys::pin(fd.as_fd(), &path).map_err(|error| super::pins::pin_error("pin", &path, error))?;
    Instance::open(pins, key.as_str()).ok_or_else(|| load_error(program, &ProgramError::NotLoaded))
}

type Entries<K> = Vec<(K, ServiceSet)>;

fn allow_lists(rules: &KernelRules) -> (Entries<AllowKeyV4>, Entries<AllowKeyV6>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (net, &services) in &rules.allow {
        let prefix = u32::from(net.prefix_len());
        match net {
            IpNet::V4(net) => v4.push((AllowKeyV4 { prefix, address: net.addr().octets() }, services)),
            IpNet::V6(net) => v6.push((AllowKeyV6 { prefix, address: net.addr().octets() }, services)),
        }
    }
    (v4, v6)
}

/// A trie's capacity: it cannot be zero.
fn entries<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX).max(1)
}

fn fill<K>(ebpf: &Ebpf, name: &'static str, list: &[(K, ServiceSet)]) -> Result<(), DatapathError>
where
    K: FromBytes + IntoBytes + Immutable + Copy,
{
    let Some(AyaMap::LpmTrie(trie)) = ebpf.map(name) else { return Ok(()) };
    let failed = || DatapathError::map("fill", name);
    let fd = trie.fd().as_fd().try_clone_to_owned().map_err(failed())?;
    let trie: Map<K, ServiceSet> = Map::new(fd).map_err(failed())?;
    trie.set_all(list).map_err(failed())?;
    sys::freeze(trie.fd()).map_err(failed())
}

fn load_error(program: &'static str, error: &dyn std::error::Error) -> DatapathError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        reason = format!("{reason}: {inner}");
        source = inner.source();
    }
    DatapathError::Load { program, reason }
}

/// Is EPERM at the bottom of this?
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.and_then(std::io::Error::raw_os_error) == Some(libc::EPERM) {
            return true;
        }
        next = error.source();
    }
    false
}
