//! Kernel programs as the benchmark needs them: assembled by hand, or somebody else's found by pin or id, and
//! run on a frame by the kernel itself (`BPF_PROG_TEST_RUN`). Attribute layouts from `include/uapi/linux/bpf.h`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use tests::bpf::{LINK_CREATE, PROG_LOAD, TestRun, bpf_fd, open};
use tests::prog_run::Size;
use zerocopy::{Immutable, IntoBytes};

const PROG_GET_FD_BY_ID: i64 = 13;

const ATTACH_XDP: u32 = 37;
const XDP_NATIVE: u32 = 1 << 2;
const LIVE_FRAMES: u32 = 1 << 1;

/// One instruction: operation, destination and source register, offset, immediate.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    operation: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// An instruction, as the instruction set document (`Documentation/bpf/standardization`) numbers its parts.
pub(crate) const fn instruction(operation: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { operation, registers: to | from << 4, offset, immediate }
}

/// What a program is attached to, and therefore the context it is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TC classifier.
    Tc = 3,
    /// An XDP program.
    Xdp = 6,
}

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Program {
    fd: OwnedFd,
    kind: Kind,
}

/// An attached program; dropping it detaches it.
#[derive(Debug)]
pub(crate) struct Link(#[expect(dead_code, reason = "holds the attachment")] OwnedFd);

#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    kernel: u32,
    flags: u32,
    name: [u64; 2],
    interface: u32,
    attach_type: u32,
}

impl Program {
    /// Loads instructions.
    pub(crate) fn load(kind: Kind, code: &[Instruction]) -> Result<Self> {
        let license = c"GPL";
        let mut attributes = Load {
            kind: kind as u32,
            count: u32::try_from(code.len())?,
            instructions: code.as_ptr() as u64,
            license: license.as_ptr() as u64,
            ..Load::default()
        };
        // SAFETY: as many instructions as it says, and a string that ends.
        let fd = unsafe { bpf_fd(PROG_LOAD, &mut attributes) }.context("loading a program of the bench")?;
        Ok(Self { fd, kind })
    }

    /// A program that does nothing but answer.
    pub(crate) fn bare(kind: Kind, answer: i32) -> Result<Self> {
        Self::load(kind, &[instruction(0xb7, 0, 0, 0, answer), instruction(0x95, 0, 0, 0, 0)])
    }

    /// Opens a pin.
    pub(crate) fn pinned(kind: Kind, path: &Path) -> Result<Self> {
        Ok(Self { fd: open(path)?, kind })
    }

    /// Opens a program of anybody's by the kernel's id for it.
    pub(crate) fn by_id(kind: Kind, id: u32) -> Result<Self> {
        let mut attributes = [id, 0, 0];
        // SAFETY: no pointers.
        let fd =
            unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attributes) }.with_context(|| format!("opening program {id}"))?;
        Ok(Self { fd, kind })
    }

    /// Attaches an XDP program natively.
    pub(crate) fn attach(&self, interface: u32) -> Result<Link> {
        let mut attributes = [self.raw(), interface, ATTACH_XDP, XDP_NATIVE];
        // SAFETY: no pointers.
        let link = unsafe { bpf_fd(LINK_CREATE, &mut attributes) }.context("attaching a program of the bench")?;
        Ok(Link(link))
    }

    /// Runs it `repeat` times on a frame as if that arrived on `interface` of this network namespace; the answer.
    pub(crate) fn run(&self, frame: &[u8], interface: u32, repeat: u32) -> Result<u32> {
        let size = u32::try_from(frame.len())?;
        // struct xdp_md: data_end and ingress_ifindex. struct __sk_buff: ifindex.
        let mut context = [0_u32; 11];
        match self.kind {
            Kind::Xdp => (context[1], context[3]) = (size, interface),
            Kind::Tc => context[10] = interface,
        }
        let words = if self.kind == Kind::Xdp { 6 } else { context.len() };
        let attributes = TestRun {
            program: self.raw(),
            data_in_size: size,
            data_in: frame.as_ptr() as u64,
            repeat,
            context_in_size: u32::try_from(words * 4)?,
            context_in: context.as_ptr() as u64,
            ..TestRun::default()
        };
        // SAFETY: the kernel reads as many bytes of frame and context as it is told, and writes to neither.
        unsafe { attributes.run() }.context("running a program on a frame")
    }

    /// Sends `repeat` real frames through an XDP program, which redirects them.
    pub(crate) fn send(&self, frame: &[u8], repeat: u32) -> Result<()> {
        let attributes = TestRun {
            program: self.raw(),
            data_in_size: u32::try_from(frame.len())?,
            data_in: frame.as_ptr() as u64,
            repeat,
            flags: LIVE_FRAMES,
            ..TestRun::default()
        };
        // SAFETY: the kernel reads as many bytes of the frame as it is told.
        unsafe { attributes.run() }.map(drop).context("sending frames")
    }

    /// How large it is.
    pub(crate) fn size(&self) -> Result<Size> {
        Size::of(self.fd.as_fd())
    }

    fn raw(&self) -> u32 {
        self.fd.as_raw_fd().unsigned_abs()
    }
}
