//! Interfaces of this namespace that ipvlan children in other namespaces share.
//!
//! rtnetlink lists an interface's children where they are, not where it is. A namespace that an interface was moved to has
//! a number in the one it came from (`__dev_change_net_namespace`, `net/core/dev.c`), and can be asked by it (kernel 4.20). So
//! children that an engine makes here and moves are found; those made in another namespace right away are not, unless
//! something else was moved there.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::netlink::attributes::{Attributes, push_attribute, text, u32_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};

/// `include/uapi/linux/rtnetlink.h`, `if_link.h`, `net_namespace.h`.
const RTM_GETLINK: u16 = 18;
const RTM_GETNSID: u16 = 90;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_TARGET_NETNSID: u16 = 46;
const IFLA_INFO_KIND: u16 = 1;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// `struct rtgenmsg`, padded; `struct ifinfomsg`.
const GENERAL: usize = 4;
const HEADER: usize = 16;

/// Namespaces that are asked; in others nothing is found.
const MOST: usize = 512;
const KINDS: [&str; 2] = ["ipvlan", "ipvtap"];

/// Indices of this namespace's interfaces with an ipvlan child elsewhere. What cannot be found out is left out: then what is
/// for such a child is dropped.
pub(super) fn ipvlan_parents() -> BTreeSet<u32> {
    let loaded = |kind: &&str| Path::new("/sys/module").join(kind).exists();
    let kinds: Vec<&str> = KINDS.into_iter().filter(loaded).collect();
    let mut children = Vec::new();
    if !kinds.is_empty() {
        for namespace in namespaces().unwrap_or_default().into_iter().take(MOST) {
            for kind in &kinds {
                children.extend(ask(namespace, kind).unwrap_or_default());
            }
        }
    }
    // Last: only by naming us to ourselves have we a number.
    let us = if children.is_empty() { None } else { own_number().ok().flatten() };
    children.into_iter().filter(|child| us == Some(child.namespace)).map(|child| child.parent).collect()
}

/// What an ipvlan child says of its parent.
struct Child {
    parent: u32,
    /// The number of its namespace.
    namespace: u32,
}

/// Numbers of the other namespaces that this one knows.
fn namespaces() -> Result<Vec<u32>, NetlinkError> {
    let mut namespaces = Vec::new();
    converse(Family::Route, "list the known namespaces", RTM_GETNSID, Ask::Dump, &[0; GENERAL], |body| {
        namespaces.extend(number(body));
        Ok(())
    })?;
    Ok(namespaces)
}

/// This namespace's number in itself.
fn own_number() -> Result<Option<u32>, NetlinkError> {
    let what = "number this namespace";
    let failed = |source| NetlinkError::Request { what: what.to_owned(), source };
    let us = File::open("/proc/thread-self/ns/net").map_err(failed)?;
    let mut request = vec![0; GENERAL];
    push_attribute(&mut request, NETNSA_FD, &us.as_raw_fd().to_ne_bytes());
    let mut found = None;
    converse(Family::Route, what, RTM_GETNSID, Ask::One, &request, |body| {
        found = number(body);
        Ok(())
    })?;
    Ok(found)
}

/// Of a message about a namespace; -1: it has none.
fn number(body: &[u8]) -> Option<u32> {
    let number = Attributes(body.get(GENERAL..)?).get(NETNSA_NSID).and_then(|number| u32_at(number, 0))?;
    (number != u32::MAX).then_some(number)
}

/// The children of one kind in one namespace whose parents are elsewhere.
fn ask(namespace: u32, kind: &str) -> Result<Vec<Child>, NetlinkError> {
    let mut info = Vec::new();
    push_attribute(&mut info, IFLA_INFO_KIND, &[kind.as_bytes(), &[0]].concat());
    let mut request = vec![0; HEADER];
    push_attribute(&mut request, IFLA_TARGET_NETNSID, &namespace.to_ne_bytes());
    push_attribute(&mut request, IFLA_LINKINFO, &info);
    let mut children = Vec::new();
    let what = format!("list the {kind} interfaces of namespace {namespace}");
    converse(Family::Route, &what, RTM_GETLINK, Ask::Dump, &request, |body| {
        let attributes = Attributes(body.get(HEADER..).ok_or("a link without attributes")?);
        let found = Attributes(attributes.get(IFLA_LINKINFO).unwrap_or_default()).get(IFLA_INFO_KIND).map(text);
        let word = |kind| attributes.get(kind).and_then(|payload| u32_at(payload, 0));
        if found == Some(kind.as_bytes())
            && let (Some(parent), Some(namespace)) = (word(IFLA_LINK), word(IFLA_LINK_NETNSID))
        {
            children.push(Child { parent, namespace });
        }
        Ok(())
    })?;
    Ok(children)
}
