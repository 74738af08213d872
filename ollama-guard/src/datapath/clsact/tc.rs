//! Traffic control by rtnetlink: the clsact qdisc and filters on it (tc(8), `include/uapi/linux/rtnetlink.h`,
//! `pkt_sched.h`, `pkt_cls.h`). By interface index: a name could pass to another interface meanwhile.

use std::fmt;
use std::os::fd::BorrowedFd;

use super::super::sys::raw;
use crate::netlink::attributes::{Attributes, push_attribute, text, u32_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAGS_GEN: u16 = 9;
const TCA_BPF_ID: u16 = 11;
/// The program's result is the verdict.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// Never into the hardware: nothing else about the device is to change.
const TCA_CLS_FLAGS_SKIP_HW: u32 = 1;

/// `TC_H_CLSACT`: where the qdisc hangs. An ingress qdisc hangs there too, and takes our filter as well.
const CLSACT: u32 = 0xffff_fff1;
/// The handle that the kernel gives either.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// `struct tcmsg`.
const HEADER: usize = 20;

/// `ETH_P_ALL`, as filters hold it.
pub(super) const EVERY_PROTOCOL: u16 = 3_u16.to_be();
/// Tells our filter from everybody else's, who number theirs from 1.
const HANDLE: u32 = u32::from_be_bytes(*b"olla");
const NAME: &[u8] = b"ollama-guard\0";

/// The two sides of a clsact qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`.
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// A filter, or the head of the filters of one priority (handle 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) kind: String,
    pub(super) priority: u16,
    pub(super) protocol: u16,
    pub(super) chain: u32,
    pub(super) handle: u32,
    pub(super) program: Option<u32>,
}

impl Filter {
    pub(super) fn is_ours(&self) -> bool {
        self.kind == "bpf" && self.handle == HANDLE
    }

    /// A filter proper, in the chain where every packet starts.
    pub(super) fn is_met_before_ours(&self) -> bool {
        self.handle != 0 && self.chain == 0
    }

    /// May ours stand under the same priority? Other chains have priorities of their own.
    pub(super) fn can_share(&self) -> bool {
        self.chain != 0 || (self.kind == "bpf" && self.protocol == EVERY_PROTOCOL)
    }

    fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let info = u32_at(body, 16).ok_or("a filter without a header")?;
        let attributes = Attributes(body.get(HEADER..).unwrap_or_default());
        let options = Attributes(attributes.get(TCA_OPTIONS).unwrap_or_default());
        Ok(Self {
            kind: String::from_utf8_lossy(text(attributes.get(TCA_KIND).unwrap_or_default())).into_owned(),
            priority: (info >> 16) as u16,
            protocol: (info & 0xffff) as u16,
            chain: attributes.get(TCA_CHAIN).and_then(|chain| u32_at(chain, 0)).unwrap_or(0),
            handle: u32_at(body, 8).ok_or("a filter without a handle")?,
            program: options.get(TCA_BPF_ID).and_then(|id| u32_at(id, 0)),
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} filter {:#x} of priority {}", self.kind, self.handle, self.priority)
    }
}

/// The filters of one side, in the order in which packets meet them. None where the interface or the qdisc is not.
pub(super) fn list(interface: u32, direction: Direction) -> Result<Vec<Filter>, NetlinkError> {
    let what = format!("list the filters of interface {interface}");
    let request = header(interface, 0, direction.parent(), 0);
    let mut filters = Vec::new();
    let listed = converse(Family::Route, &what, RTM_GETTFILTER, Ask::Dump, &request, |body| {
        filters.push(Filter::parse(body)?);
        Ok(())
    });
    or_gone(listed.map(drop))?;
    Ok(filters)
}

/// Adds an ingress qdisc; false if there is one, or a clsact qdisc in its place. It, and not a clsact qdisc, because whoever
/// wants one of the two here deletes the other by its name: shapers, of which there are most, say `ingress`.
pub(super) fn create_qdisc(interface: u32) -> Result<bool, NetlinkError> {
    let what = format!("add an ingress qdisc to interface {interface}");
    let mut request = header(interface, CLSACT_HANDLE, CLSACT, 0);
    push_attribute(&mut request, TCA_KIND, b"ingress\0");
    match converse(Family::Route, &what, RTM_NEWQDISC, Ask::Create, &request, |_| Ok(())) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        result => result.map(|_| true),
    }
}

/// Is there a clsact or an ingress qdisc?
pub(super) fn has_qdisc(interface: u32) -> Result<bool, NetlinkError> {
    let what = format!("look for the ingress qdisc of interface {interface}");
    let request = header(interface, CLSACT_HANDLE, CLSACT, 0);
    match converse(Family::Route, &what, RTM_GETQDISC, Ask::One, &request, |_| Ok(())) {
        Ok(_) => Ok(true),
        // The last one: there was one (`tc_get_qdisc`, `net/sched/sch_api.c`).
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the clsact or ingress qdisc and all its filters.
pub(super) fn delete_qdisc(interface: u32) -> Result<(), NetlinkError> {
    let what = format!("remove the ingress qdisc of interface {interface}");
    let request = header(interface, CLSACT_HANDLE, CLSACT, 0);
    or_gone(converse(Family::Route, &what, RTM_DELQDISC, Ask::One, &request, |_| Ok(())).map(drop))
}

/// Adds our filter, or replaces its program.
pub(super) fn put(interface: u32, priority: u16, program: BorrowedFd<'_>) -> Result<(), NetlinkError> {
    let what = format!("set the filter of interface {interface}");
    let mut options = Vec::new();
    push_attribute(&mut options, TCA_BPF_FD, &raw(program).to_ne_bytes());
    push_attribute(&mut options, TCA_BPF_NAME, NAME);
    push_attribute(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
    push_attribute(&mut options, TCA_BPF_FLAGS_GEN, &TCA_CLS_FLAGS_SKIP_HW.to_ne_bytes());
    let mut request = our_filter(interface, priority);
    push_attribute(&mut request, TCA_OPTIONS, &options);
    converse(Family::Route, &what, RTM_NEWTFILTER, Ask::Put, &request, |_| Ok(())).map(drop)
}

/// Removes our filter.
pub(super) fn delete(interface: u32, priority: u16) -> Result<(), NetlinkError> {
    let what = format!("remove the filter of interface {interface}");
    let request = our_filter(interface, priority);
    or_gone(converse(Family::Route, &what, RTM_DELTFILTER, Ask::One, &request, |_| Ok(())).map(drop))
}

fn our_filter(interface: u32, priority: u16) -> Vec<u8> {
    let info = u32::from(priority) << 16 | u32::from(EVERY_PROTOCOL);
    let mut request = header(interface, HANDLE, Direction::Ingress.parent(), info);
    push_attribute(&mut request, TCA_KIND, b"bpf\0");
    request
}

fn header(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    // The first word is the address family, unspecified.
    [0, interface, handle, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// What somebody else removed a moment ago need not be removed.
fn or_gone(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_back_as_it_was_put() {
        let mut message = our_filter(5, 1);
        let mut options = Vec::new();
        push_attribute(&mut options, TCA_BPF_ID, &42_u32.to_ne_bytes());
        push_attribute(&mut message, TCA_OPTIONS, &options);
        let filter = Filter::parse(&message).unwrap();
        assert!(filter.is_ours() && filter.can_share() && filter.is_met_before_ours());
        assert_eq!((filter.priority, filter.program), (1, Some(42)));
        assert_eq!(filter.to_string(), "bpf filter 0x6f6c6c61 of priority 1");
    }
}
