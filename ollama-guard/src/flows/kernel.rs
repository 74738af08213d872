//! What is asked of the kernel: its connections, the ways to their ends, and to forget one. Needs `CAP_NET_ADMIN`.

use std::fs;
use std::net::IpAddr;

use super::entry::{Entry, HEADER, TIMEOUT};
use super::judge::Way;
use crate::netlink::attributes::{Attributes, push_attribute, u32_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*`.
const CT_NEW: u16 = 1 << 8;
const CT_GET: u16 = CT_NEW | 1;
const CT_DELETE: u16 = CT_NEW | 2;

/// `include/uapi/linux/rtnetlink.h`.
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_MARK: u16 = 16;
const RTN_LOCAL: u8 = 2;
/// `struct rtmsg`, and where in it the type of the route is.
const ROUTE_HEADER: usize = 12;
const ROUTE_TYPE: usize = 7;

/// Is there a connection? Asks for no module: where connection tracking is not loaded, it stays so.
pub(super) fn tracks() -> bool {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap_or_default();
    count.trim().parse::<u64>().is_ok_and(|count| count > 0)
}

/// Hands over every connection over TCP or UDP, until `each` has enough.
pub(super) fn list(mut each: impl FnMut(Entry) -> bool) -> Result<(), NetlinkError> {
    const ENOUGH: &str = "enough";
    let outcome = converse(Family::Netfilter, "list connections", CT_GET, Ask::Dump, &[0; HEADER], |body| {
        if Entry::parse(body).is_none_or(&mut each) { Ok(()) } else { Err(ENOUGH) }
    });
    match outcome {
        Err(NetlinkError::Malformed { detail: ENOUGH, .. }) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Forgets a connection. What a flowtable carried of it comes back to the rules within a second (`nf_flow_offload_gc_step`).
/// False: it was gone.
pub(super) fn end(entry: &Entry) -> Result<bool, NetlinkError> {
    let ask = |kind, more: &[u8]| {
        let body = [entry.request().as_slice(), more].concat();
        converse(Family::Netfilter, "end a connection", kind, Ask::One, &body, |_| Ok(())).map(drop)
    };
    let gone = |outcome: Result<(), NetlinkError>| match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    };
    match ask(CT_DELETE, &[]) {
        // Before Linux 6.5 (and its stable releases) an offloaded one is not deleted. But it can expire, and looking for
        // an expired one removes it (`____nf_conntrack_find`, `net/netfilter/nf_conntrack_core.c`).
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            let mut expire = Vec::new();
            push_attribute(&mut expire, TIMEOUT, &0_u32.to_be_bytes());
            gone(ask(CT_NEW, &expire))?;
            gone(ask(CT_DELETE, &[])).map(|_| true)
        }
        outcome => gone(outcome),
    }
}

/// The way of a packet from one address to another. `arrives`: on this interface; else it begins here. `None`: there is
/// none, or it is not known.
pub(super) fn way(from: Option<IpAddr>, to: IpAddr, arrives: Option<u32>, mark: u32) -> Option<Way> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (family, bits) = if to.is_ipv4() { (libc::AF_INET, 32) } else { (libc::AF_INET6, 128) };
    let mut body = vec![0; ROUTE_HEADER];
    body[0] = u8::try_from(family).ok()?;
    body[1] = bits;
    push_attribute(&mut body, RTA_DST, &octets(to));
    if let Some(from) = from {
        body[2] = bits;
        push_attribute(&mut body, RTA_SRC, &octets(from));
    }
    if let Some(interface) = arrives {
        push_attribute(&mut body, RTA_IIF, &interface.to_ne_bytes());
    }
    if mark != 0 {
        push_attribute(&mut body, RTA_MARK, &mark.to_ne_bytes());
    }
    let mut way = None;
    let outcome = converse(Family::Route, "look up a route", RTM_GETROUTE, Ask::One, &body, |route| {
        let interface = route.get(ROUTE_HEADER..).and_then(|rest| Attributes(rest).get(RTA_OIF));
        way = match route.get(ROUTE_TYPE) {
            Some(&RTN_LOCAL) => Some(Way::Here),
            _ => interface.and_then(|index| u32_at(index, 0)).map(Way::Through),
        };
        Ok(())
    });
    outcome.ok().and(way)
}
