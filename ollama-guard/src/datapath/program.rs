//! Program instances: one per distinct policy of an interface and per family of hooks.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

use aya::Ebpf;
use aya::programs::{Program, ProgramError};

use super::load::{load, load_error};
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
    /// TC egress on a device with an Ethernet header.
    Egress,
    /// TC egress on a layer-3 device.
    EgressLayer3,
    /// TC on a member of a bridge, bond or team, for what its master never sees.
    TcMember,
}

impl Family {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
            Self::TcLayer3 => "tc-l3",
            Self::Egress => "egress",
            Self::EgressLayer3 => "egress-l3",
            Self::TcMember => "tc-member",
        }
    }

    /// Tried in order; the first error is the one reported. Multi-buffer XDP came with 5.18.
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Xdp => &["guard_xdp_frags", "guard_xdp"],
            Self::Tc => &["guard_tc"],
            Self::TcLayer3 => &["guard_tc_l3"],
            Self::Egress => &["note_tc"],
            Self::EgressLayer3 => &["note_tc_l3"],
            Self::TcMember => &["guard_tc_member"],
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
        // Of several refusals the last tells most: it is of the program that asks least of the kernel.
        let mut refusal = DatapathError::NotPermitted;
        for program in family.programs() {
            match load(pins, rules, program, tracked) {
                Ok(mut ebpf) => return pin(pins, key, &mut ebpf, program),
                Err(DatapathError::NotPermitted) => return Err(DatapathError::NotPermitted),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
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
    super::pins::pin(fd.as_fd(), &path)?;
    Instance::open(pins, key.as_str()).ok_or_else(|| load_error(program, &ProgramError::NotLoaded))
}
