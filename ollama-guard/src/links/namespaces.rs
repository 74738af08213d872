//! Whether another network namespace was made from here, as a container's is, or lies outside, as a container's host
//! does to those in the container. The end of a pair looks alike from both sides.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{Link, Use};
use crate::netlink::attributes::{Attributes, push_attribute, u32_at};
use crate::netlink::{Ask, Conversation, Family};

/// Another network namespace, that of a pair's other end or of the device below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The kernel's number for it in this namespace; negative for one that is ending.
    pub id: i32,
    /// Made from here, as far as can be seen.
    pub inside: bool,
}

/// `include/uapi/linux/net_namespace.h`.
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_PID: u16 = 2;
const NETNSA_FD: u16 = 3;

/// Settings that the kernel shows in its first network namespace only (`net/core/sysctl_net_core.c`, 2.6 to 7.2).
const ONLY_IN_THE_FIRST: [&str; 3] = ["message_cost", "netdev_budget", "netdev_max_backlog"];
/// Namespaces that `ip netns` and CNI keep by a name. Only root may add to it.
const NAMED: &str = "/run/netns";
/// The look at the processes: others decide how many there are.
const MOST: usize = 8192;
const LONGEST: Duration = Duration::from_millis(100);

/// Tells of each link elsewhere whether that is inside.
///
/// Outside the kernel's first namespace there is none. In another one, what is inside is where a process runs that can be
/// seen from here (a container's host is not to be seen from the container), or has a name here; but not where process 1
/// runs, if that is not here: then this is no container, and that is its host.
pub(super) fn add(links: &mut [Link]) {
    let all_inside = ONLY_IN_THE_FIRST.iter().all(|setting| Path::new("/proc/sys/net/core").join(setting).exists());
    let asked: BTreeSet<i32> = if all_inside { BTreeSet::new() } else { links.iter().filter_map(question).collect() };
    let seen = if asked.is_empty() { BTreeSet::new() } else { look(asked) };
    for elsewhere in links.iter_mut().filter_map(|link| link.elsewhere.as_mut()) {
        elsewhere.inside = elsewhere.id >= 0 && (all_inside || seen.contains(&elsewhere.id));
    }
}

/// An uplink is known by its use.
fn question(link: &Link) -> Option<i32> {
    let is_uplink = [Use::DefaultRoute, Use::Router, Use::LeasedAddress].iter().any(|what| link.uses.contains(what));
    link.elsewhere.filter(|elsewhere| link.kind.is_pair() && elsewhere.id >= 0 && !is_uplink).map(|there| there.id)
}

/// Which of these are inside.
fn look(mut asked: BTreeSet<i32>) -> BTreeSet<i32> {
    let Ok(mut kernel) = Conversation::open(Family::Route) else { return BTreeSet::new() };
    let mut id = |attribute: u16, what: u32| id(&mut kernel, attribute, what);
    if let Some(host) = id(NETNSA_PID, 1) {
        asked.remove(&host);
    }
    let mut found = BTreeSet::new();
    let mut see = |id: Option<i32>| {
        found.extend(id.filter(|id| asked.remove(id)));
        asked.is_empty()
    };
    let until = Instant::now() + LONGEST;
    let over = || Instant::now() > until;
    for name in entries(NAMED).take(MOST) {
        let named = open(&Path::new(NAMED).join(name));
        let number = named.as_ref().and_then(|file| u32::try_from(file.as_raw_fd()).ok());
        if see(number.and_then(|number| id(NETNSA_FD, number))) || over() {
            return found;
        }
    }
    // The newest first: who looks again after a container has started wants that.
    let mut processes: Vec<u32> = entries("/proc").filter_map(|name| name.parse().ok()).collect();
    processes.sort_unstable_by(|one, other| other.cmp(one));
    for process in processes.into_iter().take(MOST) {
        if see(id(NETNSA_PID, process)) || over() {
            break;
        }
    }
    found
}

fn entries(directory: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

fn open(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()
}

/// The kernel's number for the namespace of a process or a descriptor. Anybody may ask (`rtnl_net_getid`).
fn id(kernel: &mut Conversation, attribute: u16, what: u32) -> Option<i32> {
    // `struct rtgenmsg`, padded.
    let mut request = vec![0; 4];
    push_attribute(&mut request, attribute, &what.to_ne_bytes());
    let mut id = None;
    let asked = kernel.ask("tell network namespaces apart", RTM_GETNSID, Ask::One, &request, |body| {
        let attributes = Attributes(body.get(4..).unwrap_or_default());
        id = attributes.get(NETNSA_NSID).and_then(|id| u32_at(id, 0)).map(u32::cast_signed);
        Ok(())
    });
    asked.ok().and(id).filter(|&id| id >= 0)
}
