//! `bpf(2)`: the system call, and what more than one of the tests' and the benchmark's programs ask of it. Attribute layouts
//! from `include/uapi/linux/bpf.h`; the kernel zero-extends shorter ones.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use zerocopy::{Immutable, IntoBytes};

/// `BPF_PROG_LOAD`.
pub const PROG_LOAD: i64 = 5;
/// `BPF_LINK_CREATE`.
pub const LINK_CREATE: i64 = 28;
const OBJ_GET: i64 = 7;
const PROG_TEST_RUN: i64 = 10;
const LINK_DETACH: i64 = 34;

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` uses.
#[expect(missing_docs, reason = "the kernel's fields")]
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
pub struct TestRun {
    pub program: u32,
    pub result: u32,
    pub data_in_size: u32,
    pub data_out_size: u32,
    pub data_in: u64,
    pub data_out: u64,
    pub repeat: u32,
    pub duration: u32,
    pub context_in_size: u32,
    pub context_out_size: u32,
    pub context_in: u64,
    pub context_out: u64,
    pub flags: u32,
    pub cpu: u32,
    pub batch: u32,
    pub reserved: u32,
}

impl TestRun {
    /// Runs the program; what it answered.
    ///
    /// # Safety
    ///
    /// As [`bpf`].
    pub unsafe fn run(mut self) -> io::Result<u32> {
        // SAFETY: the caller's.
        unsafe { bpf(PROG_TEST_RUN, &mut self) }?;
        Ok(self.result)
    }
}

/// Runs one command.
///
/// # Safety
///
/// Pointers in `attributes` are valid for what the command reads and writes through them.
pub unsafe fn bpf<A: IntoBytes + Immutable>(command: i64, attributes: &mut A) -> io::Result<RawFd> {
    let size = size_of::<A>();
    // SAFETY: the kernel reads and writes `size` bytes of attributes; the pointers in them are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or_default()) }
}

/// Runs a command that returns a new file descriptor.
///
/// # Safety
///
/// As [`bpf`].
pub unsafe fn bpf_fd<A: IntoBytes + Immutable>(command: i64, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the command succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a pinned program or map.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = [name.as_ptr() as u64, 0];
    // SAFETY: `name` is a C string that outlives the call.
    unsafe { bpf_fd(OBJ_GET, &mut attributes) }.with_context(|| format!("opening {}", path.display()))
}

/// Detaches a pinned link, as only root can: its pin stays.
pub fn detach(path: &Path) -> Result<()> {
    let link = open(path)?;
    let mut attributes = link.as_raw_fd().unsigned_abs();
    // SAFETY: no pointers.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.with_context(|| format!("detaching {}", path.display()))?;
    Ok(())
}
