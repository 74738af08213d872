//! Asking the kernel for one interface or all of them.

use super::{Link, Links, elsewhere, features, message, namespaces, sysfs, uses};
use crate::netlink::attributes::push_attribute;
use crate::netlink::{Ask, Family, NetlinkError, Outcome, converse};

/// `include/uapi/linux/rtnetlink.h`.
const RTM_GETLINK: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
/// Reads of a namespace that changes all the time.
const ATTEMPTS: usize = 10;

/// Asks for one interface, or for all (index zero). Counters are left out.
fn request(index: u32) -> Vec<u8> {
    // `struct ifinfomsg`: the index is its second word.
    let mut request = vec![0; 16];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    push_attribute(&mut request, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    request
}

impl Link {
    /// Reads one interface of the calling thread's network namespace.
    pub fn read(index: u32) -> Result<Self, NetlinkError> {
        let what = format!("read interface {index}");
        let mut link = None;
        converse(Family::Route, &what, RTM_GETLINK, Ask::One, &request(index), |body| {
            link = Some(message::parse(body)?);
            Ok(())
        })?;
        link.map(completed).ok_or(NetlinkError::Malformed { what, detail: "it is empty" })
    }
}

/// Adds what older kernels do not say over netlink, and what rtnetlink does not.
fn completed(mut link: Link) -> Link {
    link.physical = link.physical || sysfs::has_parent_device(&link);
    // An error tells of no feature, as do kernels before 6.3.
    link.takes_fragments = link.physical && features::takes_fragments(link.index).unwrap_or(false);
    link
}

impl Links {
    /// Reads the calling thread's network namespace.
    ///
    /// A listing that a change interrupted is read again. After ten of those in a row the last one is taken:
    /// whoever subscribed to [`super::LinkEvents`] before has those changes queued and will read again.
    pub fn read() -> Result<Self, NetlinkError> {
        let request = request(0);
        let links = until_consistent(|| {
            let mut links = Vec::new();
            let outcome = converse(Family::Route, "list the interfaces", RTM_GETLINK, Ask::Dump, &request, |body| {
                links.push(message::parse(body)?);
                Ok(())
            })?;
            Ok((outcome, links))
        })?;
        let parents = elsewhere::ipvlan_parents();
        let shared = |link: Link| Link { ipvlan_elsewhere: parents.contains(&link.index), ..link };
        let mut links: Vec<Link> = links.into_iter().map(completed).map(shared).collect();
        uses::add(&mut links);
        namespaces::add(&mut links);
        Ok(links.into_iter().collect())
    }
}

fn until_consistent<T>(mut read: impl FnMut() -> Result<(Outcome, T), NetlinkError>) -> Result<T, NetlinkError> {
    for _ in 1..ATTEMPTS {
        if let (Outcome::Consistent, listing) = read()? {
            return Ok(listing);
        }
    }
    read().map(|(_, listing)| listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_listing_is_read_again_but_not_for_ever() {
        let mut reads = 0;
        let third = until_consistent(|| {
            reads += 1;
            Ok((if reads < 3 { Outcome::Interrupted } else { Outcome::Consistent }, reads))
        });
        assert_eq!(third.unwrap(), 3);
        let mut reads = 0;
        let last = until_consistent(|| {
            reads += 1;
            Ok((Outcome::Interrupted, reads))
        });
        assert_eq!(last.unwrap(), ATTEMPTS);
    }
}
