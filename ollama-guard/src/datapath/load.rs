//! Loading the kernel object: its maps and, of its programs, the one that is wanted.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;

use aya::maps::Map as AyaMap;
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use ipnet::IpNet;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use ollama_guard_common::abi::{AllowKeyV4, AllowKeyV6, Proxied, ProxiedKey, ServiceSet};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::map::Map;
use super::program::OBJECT;
use super::shared::NAMES;
use super::{DatapathError, PinDirectory, sys};
use crate::plan::rules::KernelRules;

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
pub(super) fn load(
    pins: &PinDirectory,
    rules: &KernelRules,
    name: &'static str,
    tracked: u32,
) -> Result<Ebpf, DatapathError> {
    let seed = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(0);
    let constants = rules.constants(seed);
    let (v4, v6) = allow_lists(rules);
    let proxied: Vec<(ProxiedKey, Proxied)> = rules.proxied_keys().into_iter().map(|key| (key, 1)).collect();
    let mut loader = EbpfLoader::new();
    loader
        // Why a program was refused, in a few lines. All that the verifier walked would be megabytes, and take it a minute.
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("RULES", constants.as_bytes(), true)
        .map_max_entries("strangers", tracked)
        .map_max_entries("allow_v4", entries(&v4))
        .map_max_entries("allow_v6", entries(&v6))
        .map_max_entries("proxied", entries(&proxied));
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
    fill(&ebpf, "proxied", &proxied)?;
    let program = ebpf.program_mut(name).ok_or_else(|| failed(&ProgramError::NotLoaded))?;
    undisturbed(|| match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    })
    .map_err(|error| if is_denied(&error) { DatapathError::NotPermitted } else { failed(&error) })?;
    #[cfg(feature = "debug-log")]
    super::debug::follow(&mut ebpf);
    Ok(ebpf)
}

/// Lets signals wait meanwhile: for one the verifier gives up (`do_check`, `kernel/bpf/verifier.c`), and a reload may come
/// while another is worked on.
fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let mut before = SigSet::empty();
    // Neither can fail, and would cost another try if it did.
    let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before));
    let result = work();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    result
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

/// A map's capacity: it cannot be zero.
fn entries<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX).max(1)
}

/// Fills a map whose values are words, and freezes it.
fn fill<K>(ebpf: &Ebpf, name: &'static str, list: &[(K, u32)]) -> Result<(), DatapathError>
where
    K: FromBytes + IntoBytes + Immutable + Copy,
{
    let Some(AyaMap::LpmTrie(data) | AyaMap::HashMap(data)) = ebpf.map(name) else { return Ok(()) };
    let failed = || DatapathError::map("fill", name);
    let fd = data.fd().as_fd().try_clone_to_owned().map_err(failed())?;
    let map: Map<K, u32> = Map::new(fd).map_err(failed())?;
    map.set_all(list).map_err(failed())?;
    sys::freeze(map.fd()).map_err(failed())
}

pub(super) fn load_error(program: &'static str, error: &dyn std::error::Error) -> DatapathError {
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
