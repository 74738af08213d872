//! The `bpf(2)` commands that aya does not offer, or not by file descriptor and interface index: links, pins,
//! freezing and batched reads. Attribute layouts from `include/uapi/linux/bpf.h`; the kernel zero-extends shorter ones.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use zerocopy::{FromBytes, Immutable, IntoBytes};

const OBJ_PIN: i64 = 6;
const OBJ_GET: i64 = 7;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const MAP_FREEZE: i64 = 22;
const LINK_CREATE: i64 = 28;
const LINK_UPDATE: i64 = 29;
const LINK_DETACH: i64 = 34;

const ATTACH_XDP: u32 = 37;
pub(super) const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_GENERIC: u32 = 1 << 1;
const XDP_NATIVE: u32 = 1 << 2;
const BEFORE: u32 = 1 << 3;
const LINK_TYPE_XDP: u32 = 6;
const LINK_TYPE_TCX: u32 = 11;

/// Runs one command. The attributes hold every pointer the kernel will follow.
///
/// # Safety
///
/// Pointers in `attributes` are valid for what `command` reads and writes through them.
pub(super) unsafe fn bpf<A: IntoBytes + Immutable>(command: i64, attributes: &mut A) -> io::Result<RawFd> {
    // SAFETY: the kernel reads and writes size_of::<A>() bytes of attributes; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(RawFd::try_from(result).unwrap_or_default()) }
}

/// Runs a command that returns a new file descriptor.
///
/// # Safety
///
/// As [`bpf`].
pub(super) unsafe fn bpf_fd<A: IntoBytes + Immutable>(command: i64, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the command succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The address of a path for the kernel.
fn address(path: &CString) -> u64 {
    path.as_ptr() as u64
}

/// Pins a map, program or link.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes = Object { path: address(&path), fd: raw(object), flags: 0 };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { bpf(OBJ_PIN, &mut attributes) }.map(drop)
}

/// Opens a pinned map, program or link.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attributes = Object { path: address(&path), fd: 0, flags: 0 };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { bpf_fd(OBJ_GET, &mut attributes) }
}

/// Where a link is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkHook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the core, after the packet was allocated.
    XdpGeneric,
    /// TCX ingress, ahead of every other program.
    Tcx,
    /// TCX egress, behind every other program.
    TcxEgress,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    reserved: u32,
    expected_revision: u64,
}

/// Attaches a program by a link.
pub(super) fn create_link(program: BorrowedFd<'_>, interface: u32, hook: LinkHook) -> io::Result<OwnedFd> {
    let (attach_type, flags) = match hook {
        LinkHook::XdpNative => (ATTACH_XDP, XDP_NATIVE),
        LinkHook::XdpGeneric => (ATTACH_XDP, XDP_GENERIC),
        LinkHook::Tcx => (ATTACH_TCX_INGRESS, BEFORE),
        LinkHook::TcxEgress => (ATTACH_TCX_EGRESS, 0),
    };
    let mut attributes = LinkCreate {
        program: raw(program),
        interface,
        attach_type,
        flags,
        relative: 0,
        reserved: 0,
        expected_revision: 0,
    };
    // SAFETY: no pointers.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Replaces a link's program; every packet meets the old one or the new one.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = LinkUpdate { link: raw(link), program: raw(program), flags: 0, old_program: 0 };
    // SAFETY: no pointers.
    unsafe { bpf(LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Detaches a link at once, whoever else holds it.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = raw(link);
    // SAFETY: no pointers.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
}

/// Makes a map read-only to user space, for good.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = raw(map);
    // SAFETY: no pointers.
    unsafe { bpf(MAP_FREEZE, &mut attributes) }.map(drop)
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    to: u64,
}

/// The head of `struct bpf_link_info`, for XDP and TCX links.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawLinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    interface: u32,
    attach_type: u32,
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// Its own id.
    pub(super) id: u32,
    /// Id of its program.
    pub(super) program: u32,
    /// XDP or TCX.
    pub(super) is_xdp: bool,
    /// Index of its interface; 0 once that is gone.
    pub(super) interface: u32,
}

/// Reads a link back.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = RawLinkInfo::default();
    read_info(link, &mut info)?;
    match info.kind {
        LINK_TYPE_XDP | LINK_TYPE_TCX => Ok(LinkInfo {
            id: info.id,
            program: info.program,
            is_xdp: info.kind == LINK_TYPE_XDP,
            interface: info.interface,
        }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "neither an XDP nor a TCX link")),
    }
}

/// Reads a program's id.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = [0_u32; 2]; // type, id
    read_info(program, &mut info)?;
    Ok(info[1])
}

/// The head of `struct bpf_map_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct MapInfo {
    /// `BPF_MAP_TYPE_*`.
    pub(super) kind: u32,
    /// Id.
    pub(super) id: u32,
    /// Bytes of a key.
    pub(super) key_size: u32,
    /// Bytes of a value.
    pub(super) value_size: u32,
    /// Capacity.
    pub(super) max_entries: u32,
}

/// Reads a map's shape.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    read_info(map, &mut info)?;
    Ok(info)
}

pub(super) fn read_info<I: FromBytes + IntoBytes>(object: BorrowedFd<'_>, info: &mut I) -> io::Result<()> {
    let length = u32::try_from(size_of::<I>()).unwrap_or(0);
    let mut attributes = Info { fd: raw(object), length, to: std::ptr::from_mut(info) as u64 };
    // SAFETY: the kernel writes at most `length` bytes to `info`, for which any bytes are a value.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }.map(drop)
}

/// A descriptor as the attributes hold it; descriptors are never negative.
pub(super) fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}
