//! The hook of kernels before 6.6: a filter on an interface's clsact qdisc.
//!
//! Neither can be pinned, so directories of our own say what is where: `filters/<index>` for an interface that has
//! our filter, and `qdisc` within if we made the qdisc too. They outlive the daemon as the filter does; what really
//! is attached is read from the kernel all the same.

mod tc;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::pins::pin_error;
use super::{DatapathError, PinDirectory};
use tc::{Direction, Filter};

/// What the kernel says of our filter on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// Id of its program.
    pub(super) program: u32,
    /// Filters of others that see packets first and may keep them from ours.
    pub(super) ahead: Vec<String>,
}

/// Our filter on this interface.
pub(super) fn find(interface: u32) -> Result<Option<Attached>, DatapathError> {
    let filters = tc::list(interface, Direction::Ingress)?;
    let Some(at) = filters.iter().position(Filter::is_ours) else { return Ok(None) };
    let Some(program) = filters[at].program else { return Ok(None) };
    let ahead = filters[..at].iter().filter(|filter| filter.is_met_before_ours()).map(ToString::to_string).collect();
    Ok(Some(Attached { program, ahead }))
}

/// Makes this the program of our filter: in place if it is there, so that every packet meets the old one or the new
/// one, once. `make_qdisc`: makes a qdisc for it, if there is none.
pub(super) fn attach(
    pins: &PinDirectory,
    interface: u32,
    program: BorrowedFd<'_>,
    make_qdisc: bool,
) -> Result<(), DatapathError> {
    make(&pins.filter(interface))?;
    let filters = tc::list(interface, Direction::Ingress)?;
    if let Some(ours) = filters.iter().find(|filter| filter.is_ours()) {
        return Ok(tc::put(interface, ours.priority, program)?);
    }
    let made = make_qdisc && tc::create_qdisc(interface)?;
    let mark = pins.filter_qdisc(interface);
    // A mark without our filter is of a qdisc that somebody deleted: the one that is there now is theirs.
    if made {
        make(&mark)?;
    } else {
        remove(&mark)?;
    }
    let put = tc::put(interface, first_priority(&filters), program);
    if put.is_err() && made {
        remove_idle_qdisc(interface)?;
    }
    Ok(put?)
}

/// Is there a qdisc of any kind to hold filters?
pub(super) fn has_qdisc(interface: u32) -> Result<bool, DatapathError> {
    Ok(tc::has_qdisc(interface)?)
}

/// The lowest priority whose place in line a program can share. The kernel keeps filters of one kind and protocol
/// under a priority, newer ones first, so that ours leads unless somebody else's kind took the first.
fn first_priority(filters: &[Filter]) -> u16 {
    let blocked = |priority: &u16| filters.iter().any(|filter| filter.priority == *priority && !filter.can_share());
    (1..u16::MAX).find(|priority| !blocked(priority)).unwrap_or(u16::MAX)
}

/// Takes our filter away, and the qdisc if we made it and nobody else uses it.
pub(super) fn detach(pins: &PinDirectory, interface: u32) -> Result<(), DatapathError> {
    let filters = tc::list(interface, Direction::Ingress)?;
    if let Some(ours) = filters.iter().find(|filter| filter.is_ours()) {
        tc::delete(interface, ours.priority)?;
        // Only here: where our filter is gone the qdisc may be another one, on an interface that reuses the index.
        if pins.filter_qdisc(interface).exists() {
            remove_idle_qdisc(interface)?;
        }
    }
    remove(&pins.filter(interface))
}

fn remove_idle_qdisc(interface: u32) -> Result<(), DatapathError> {
    for direction in [Direction::Ingress, Direction::Egress] {
        if !tc::list(interface, direction)?.is_empty() {
            return Ok(());
        }
    }
    Ok(tc::delete_qdisc(interface)?)
}

/// Makes a mark, if it is not there.
pub(super) fn make(mark: &Path) -> Result<(), DatapathError> {
    match DirBuilder::new().mode(0o700).create(mark) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(pin_error("create", mark, error)),
        _ => Ok(()),
    }
}

fn remove(mark: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir_all(mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin_error("remove", mark, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(priority: u16, kind: &str) -> Filter {
        Filter { kind: kind.to_owned(), priority, protocol: tc::EVERY_PROTOCOL, chain: 0, handle: 1, program: Some(7) }
    }

    #[test]
    fn ours_shares_the_first_priority_with_programs_and_comes_behind_other_kinds() {
        assert_eq!(first_priority(&[]), 1);
        assert_eq!(first_priority(&[filter(1, "bpf"), filter(7, "flower")]), 1);
        assert_eq!(first_priority(&[filter(1, "flower"), filter(2, "bpf")]), 2);
        let arp = Filter { protocol: 0x0806_u16.to_be(), ..filter(1, "bpf") };
        assert_eq!(first_priority(&[arp]), 2);
    }
}
