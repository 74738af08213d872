//! Single packets through a loaded program, without an interface: `BPF_PROG_TEST_RUN` on a pinned program.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bpf::{LINK_CREATE, PROG_LOAD, TestRun, bpf, bpf_fd, open};

const MAP_LOOKUP_ELEM: i64 = 1;
const OBJ_GET_INFO_BY_FD: i64 = 15;

const SCHED_CLS: u64 = 3;
const TCX_INGRESS: u32 = 46;
const BEFORE: u32 = 1 << 3;

/// `struct xdp_md`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    interface: u32,
    queue: u32,
    egress: u32,
}

/// `struct __sk_buff` in words of four bytes; a test run lets some of them be set and wants the others zero.
type SkbContext = [u32; 48];
const SKB_INTERFACE: usize = 10;
const SKB_GSO_SEGMENTS: usize = 41;
const SKB_GSO_SIZE: usize = 44;

/// A loaded program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Opens a pinned program.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { fd: open(path)? })
    }

    /// Gives an XDP program a frame as if it had come by this interface of the caller's network namespace. `linear`:
    /// how much of the frame is in the first buffer, if not as much as fits.
    pub fn run_xdp(&self, frame: &[u8], interface: u32, linear: Option<usize>) -> io::Result<u32> {
        let data_end = u32::try_from(linear.unwrap_or(frame.len())).unwrap_or(0);
        self.run(frame, &XdpContext { data_end, interface, ..XdpContext::default() })
    }

    /// Gives a TC program a frame as if it had come by this interface of the caller's network namespace, merged from
    /// `merged` packets if that is not 0.
    pub fn run_tc(&self, frame: &[u8], interface: u32, merged: u32) -> io::Result<u32> {
        let mut context: SkbContext = [0; 48];
        context[SKB_INTERFACE] = interface;
        context[SKB_GSO_SEGMENTS] = merged;
        context[SKB_GSO_SIZE] = if merged > 0 { 1448 } else { 0 };
        self.run(frame, &context)
    }

    /// How large it is.
    pub fn size(&self) -> Result<Size> {
        Size::of(self.fd.as_fd())
    }

    fn run<C: IntoBytes + Immutable>(&self, frame: &[u8], context: &C) -> io::Result<u32> {
        let attributes = TestRun {
            program: self.fd.as_raw_fd().unsigned_abs(),
            data_in_size: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data_in: frame.as_ptr() as u64,
            context_in_size: u32::try_from(size_of::<C>()).unwrap_or(0),
            context_in: std::ptr::from_ref(context) as u64,
            ..TestRun::default()
        };
        // SAFETY: the kernel reads as many bytes of frame and context as it is told, and writes to neither.
        unsafe { attributes.run() }
    }
}

/// What the kernel says of a program: figures that do not depend on the machine's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of machine code.
    pub machine: u32,
    /// Instructions after the verifier removed dead branches.
    pub instructions: u32,
    /// Instructions the verifier walked over every path to prove it safe; 0 where the kernel does not tell (before 5.16).
    pub verified: u32,
}

/// The beginning of `struct bpf_prog_info`.
#[derive(Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
struct Info {
    head: [u32; 4], // type, id, tag
    machine: u32,
    translated: u32,
    rest: [u64; 24],
    verified: u32,
    tail: [u32; 3],
}

impl Size {
    /// Of any loaded program.
    pub fn of(program: BorrowedFd<'_>) -> Result<Self> {
        let mut info = Info::default();
        let target = u64::from(program.as_raw_fd().unsigned_abs()) | (size_of::<Info>() as u64) << 32;
        let mut attributes = [target, std::ptr::from_mut(&mut info) as u64];
        // SAFETY: the kernel writes as many bytes as it is told the structure has, and any bytes are one.
        unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }.context("reading a program's size")?;
        Ok(Self { machine: info.machine, instructions: info.translated / 8, verified: info.verified })
    }
}

/// A pinned per-CPU map from a number to `V`.
#[derive(Debug)]
pub struct PerCpuMap<V> {
    fd: OwnedFd,
    cpus: Vec<V>,
}

impl<V: FromBytes + Clone> PerCpuMap<V> {
    /// Opens a pinned map.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { fd: open(path)?, cpus: vec![V::new_zeroed(); possible_cpus()?] })
    }

    /// Each CPU's value, or `None` if there is no such entry.
    pub fn get(&mut self, key: u32) -> Option<&[V]> {
        const { assert!(size_of::<V>().is_multiple_of(8), "the kernel lays values out in multiples of eight bytes") };
        let map = u64::from(self.fd.as_raw_fd().unsigned_abs());
        let mut attributes = [map, std::ptr::from_ref(&key) as u64, self.cpus.as_mut_ptr() as u64, 0];
        // SAFETY: the key is a number, as the map's are; there is room for a value of each possible CPU, and any
        // bytes are a value.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }.ok()?;
        Some(&self.cpus)
    }
}

/// How many values a per-CPU entry has: "0-3" are four.
fn possible_cpus() -> Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit(['-', ',']).next().unwrap_or("0");
    Ok(last.parse::<usize>().with_context(|| format!("possible CPUs {text:?}"))? + 1)
}

/// Somebody else's program on an interface; dropping it detaches it.
#[derive(Debug)]
pub struct Foreign {
    _link: OwnedFd,
}

impl Foreign {
    /// At TCX ingress, in front of all others; it accepts everything, so that those behind it see nothing.
    pub fn first_at_tcx(interface: &str) -> Result<Self> {
        // r0 = 0; exit (Documentation/bpf/standardization/instruction-set.rst).
        let code: [u64; 2] = [0xb7, 0x95];
        let license = c"GPL";
        let count = u64::from(u32::try_from(code.len())?);
        let mut load = [SCHED_CLS | count << 32, code.as_ptr() as u64, license.as_ptr() as u64, 0, 0];
        // SAFETY: as many instructions as it says, and a string that ends.
        let program = unsafe { bpf_fd(PROG_LOAD, &mut load) }.context("loading a program")?;
        let index = nix::net::if_::if_nametoindex(interface)?;
        let mut attach = [program.as_raw_fd().unsigned_abs(), index, TCX_INGRESS, BEFORE, 0, 0, 0, 0];
        // SAFETY: no pointers.
        Ok(Self { _link: unsafe { bpf_fd(LINK_CREATE, &mut attach) }.context("attaching a program")? })
    }
}
