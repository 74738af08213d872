//! Families of generic netlink, which go by name (`Documentation/userspace-api/netlink/intro.rst`).

use std::sync::OnceLock;

use rustix::io::Errno;

use crate::netlink::attributes::{Attributes, push_attribute, text, u16_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};

/// `struct genlmsghdr`: a command, a version, two bytes unused.
const HEADER: usize = 4;

/// `include/uapi/linux/genetlink.h`.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// One of them. Its number, once looked up, is kept: it stays the same while its module is loaded, and both that are used
/// here are part of the kernel.
pub(super) struct NamedFamily {
    name: &'static str,
    id: OnceLock<u16>,
}

impl NamedFamily {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, id: OnceLock::new() }
    }

    /// Sends a command about one thing; `read` gets the attributes of each reply.
    pub(super) fn ask(
        &self,
        what: &str,
        command: u8,
        attributes: &[u8],
        mut read: impl FnMut(&Attributes<'_>) -> Result<(), &'static str>,
    ) -> Result<(), NetlinkError> {
        let request = [&[command, 1, 0, 0], attributes].concat();
        converse(Family::Generic, what, self.id()?, Ask::One, &request, |body| {
            read(&Attributes(body.get(HEADER..).ok_or("it is too short")?))
        })?;
        Ok(())
    }

    fn id(&self) -> Result<u16, NetlinkError> {
        if let Some(id) = self.id.get() {
            return Ok(*id);
        }
        let mut request = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        push_attribute(&mut request, CTRL_ATTR_FAMILY_NAME, &[self.name.as_bytes(), &[0]].concat());
        let mut id = None;
        let what = format!("look up {}", self.name);
        let asked = converse(Family::Generic, &what, GENL_ID_CTRL, Ask::One, &request, |body| {
            let attributes = Attributes(body.get(HEADER..).ok_or("it is too short")?);
            let is_it = attributes.get(CTRL_ATTR_FAMILY_NAME).map(text) == Some(self.name.as_bytes());
            id = attributes.get(CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0)).filter(|_| is_it);
            Ok(())
        });
        match asked {
            Err(error) if error.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => Err(error),
            _ => id.map(|id| *self.id.get_or_init(|| id)).ok_or(NetlinkError::NoFamily(self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_there_is_named() {
        static NONE: NamedFamily = NamedFamily::new("og-none");
        let asked = NONE.ask("ask it", 1, &[], |_| Ok(()));
        assert!(matches!(asked, Err(NetlinkError::NoFamily("og-none"))), "{asked:?}");
    }
}
