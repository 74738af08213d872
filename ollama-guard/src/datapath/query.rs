//! Who sits at an interface's TCX ingress, and in which order: the kernel's list, by interface index in this network
//! namespace. A pinned link says only that it is attached somewhere.

use std::io;
use std::os::fd::AsFd;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::sys::{self, ATTACH_TCX_INGRESS};

const PROG_GET_FD_BY_ID: i64 = 13;
const PROG_QUERY: i64 = 16;
/// `BPF_MPROG_MAX` (`include/linux/bpf_mprog.h`)
const MOST: usize = 64;

/// One program in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InLine {
    /// Id of the program.
    pub(super) program: u32,
    /// Id of its link; 0 if it was attached without one.
    pub(super) link: u32,
}

/// `query` of `union bpf_attr` (`include/uapi/linux/bpf.h`, 6.6).
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Query {
    interface: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    reserved: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// The programs at TCX ingress, in the order in which packets meet them. Kernels before 6.6 refuse the question (`EINVAL`).
pub(super) fn tcx_ingress(interface: u32) -> io::Result<Vec<InLine>> {
    let (mut programs, mut links) = ([0_u32; MOST], [0_u32; MOST]);
    let mut query = Query {
        interface,
        attach_type: ATTACH_TCX_INGRESS,
        flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr() as u64,
        count: u32::try_from(MOST).unwrap_or(0),
        reserved: 0,
        program_flags: 0,
        links: links.as_mut_ptr() as u64,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: both arrays have room for `count` numbers and outlive the call.
    match unsafe { sys::bpf(PROG_QUERY, &mut query) } {
        // The interface is gone, or nobody was ever there.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => return Ok(Vec::new()),
        other => other.map(drop)?,
    }
    let count = usize::try_from(query.count).unwrap_or(0);
    Ok(programs.into_iter().zip(links).take(count).map(|(program, link)| InLine { program, link }).collect())
}

/// The head of `struct bpf_prog_info`, up to the name.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct ProgramInfo {
    before: [u64; 8],
    name: [u8; 16],
}

/// A program in words: its name if it has one, and its number, by which `bpftool prog show id` finds it.
pub(super) fn in_words(program: u32) -> String {
    let name = name(program).unwrap_or_default();
    if name.is_empty() { format!("program {program} at TCX") } else { format!("program {program}, {name}, at TCX") }
}

fn name(program: u32) -> io::Result<String> {
    let mut attributes = [program, 0, 0];
    // SAFETY: no pointers.
    let program = unsafe { sys::bpf_fd(PROG_GET_FD_BY_ID, &mut attributes) }?;
    let mut info = ProgramInfo { before: [0; 8], name: [0; 16] };
    sys::read_info(program.as_fd(), &mut info)?;
    Ok(info.name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect())
}
