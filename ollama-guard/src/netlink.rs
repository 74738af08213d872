//! A netlink conversation: one request, all its replies.

pub(crate) mod attributes;
mod error;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
};

use attributes::{MESSAGE_HEADER, Messages, u32_at};
pub use error::NetlinkError;

/// `include/uapi/linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// The kernel builds dump messages of at most 32 KiB (`netlink_dump`, `net/netlink/af_netlink.c`).
const BUFFER: usize = 64 * 1024;
/// The kernel answers within the system call; a longer silence is a lost reply and must not hang the guard.
const PATIENCE: Duration = Duration::from_secs(5);

/// The netlink protocols used here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    Route,
    Generic,
    SockDiag,
    Netfilter,
}

impl Family {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Generic => "generic",
            Self::SockDiag => "socket diagnosis",
            Self::Netfilter => "netfilter",
        }
    }

    /// `NETLINK_ROUTE` is zero, which is spelled as no protocol.
    const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Route => None,
            Self::Generic => Some(netlink::GENERIC),
            Self::SockDiag => Some(netlink::SOCK_DIAG),
            Self::Netfilter => Some(netlink::NETFILTER),
        }
    }
}

/// A socket in the calling thread's network namespace, subscribed to a set of multicast groups.
pub(crate) fn open(family: Family, flags: SocketFlags, groups: u32) -> Result<OwnedFd, NetlinkError> {
    let open = || -> rustix::io::Result<OwnedFd> {
        let flags = flags | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family.protocol())?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(socket)
    };
    open().map_err(|error| NetlinkError::Open { family: family.as_str(), source: error.into() })
}

/// How a request is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// About one thing: what it is, or its removal.
    One,
    /// Everything of a kind.
    Dump,
    /// A new thing; refused if it is there already.
    Create,
    /// A thing to be as described: new, or replaced in place.
    Put,
}

impl Ask {
    /// The acknowledgement ends the answer to anything but a dump, which ends with DONE.
    const fn flags(self) -> u16 {
        NLM_F_REQUEST
            | match self {
                Self::One => NLM_F_ACK,
                Self::Dump => NLM_F_DUMP,
                Self::Create => NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                Self::Put => NLM_F_ACK | NLM_F_CREATE,
            }
    }
}

/// Did the replies describe one moment?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Consistent,
    /// Something changed while the kernel was listing (`NLM_F_DUMP_INTR`): entries may be missing or double.
    Interrupted,
}

/// Sends one request and hands each reply's body to `each`. `what` completes "cannot …" in errors.
pub(crate) fn converse(
    family: Family,
    what: &str,
    kind: u16,
    ask: Ask,
    body: &[u8],
    each: impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<Outcome, NetlinkError> {
    Conversation::open(family)?.ask(what, kind, ask, body, each)
}

/// A socket for several requests, one after the other.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
    sequence: u32,
}

impl Conversation {
    pub(crate) fn open(family: Family) -> Result<Self, NetlinkError> {
        let socket = open(family, SocketFlags::empty(), 0)?;
        Ok(Self { socket, buffer: vec![MaybeUninit::uninit(); BUFFER], sequence: 0 })
    }

    /// As [`converse`].
    ///
    /// Not async: the kernel queues the first part of the answer before `sendto` returns and each next part
    /// while the previous one is received, so there is never anything to wait for.
    pub(crate) fn ask(
        &mut self,
        what: &str,
        kind: u16,
        ask: Ask,
        body: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<Outcome, NetlinkError> {
        let failed = |source: io::Error| NetlinkError::Request { what: what.to_owned(), source };
        let malformed = |detail| NetlinkError::Malformed { what: what.to_owned(), detail };

        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, ask, self.sequence, body).ok_or_else(|| malformed("the request is too long"))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request, SendFlags::empty(), &kernel).map_err(|e| failed(e.into()))?;

        let mut outcome = Outcome::Consistent;
        loop {
            let received = recvfrom(&self.socket, self.buffer.as_mut_slice(), RecvFlags::TRUNC);
            let (datagram, full_length, from) = match received {
                Ok(((datagram, _), length, from)) => (datagram, length, from),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(failed(error.into())),
            };
            // Only the kernel has port 0: another process' message is no answer.
            if from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_none_or(|from| from.pid() != 0) {
                continue;
            }
            if full_length > datagram.len() {
                return Err(malformed("a part is longer than the receive buffer"));
            }
            for message in Messages(datagram).filter(|message| message.sequence == self.sequence) {
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    outcome = Outcome::Interrupted;
                }
                match message.kind {
                    // Both carry an errno, zero for success. The bytes are those of an i32.
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = u32_at(message.body, 0).unwrap_or(0).cast_signed();
                        if code == 0 {
                            return Ok(outcome);
                        }
                        return Err(failed(io::Error::from_raw_os_error(code.wrapping_neg())));
                    }
                    _ => each(message.body).map_err(malformed)?,
                }
            }
        }
    }
}

fn request(kind: u16, ask: Ask, sequence: u32, body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(MESSAGE_HEADER + body.len()).ok()?;
    let mut request = Vec::with_capacity(MESSAGE_HEADER + body.len());
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&ask.flags().to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&0_u32.to_ne_bytes()); // port: the kernel fills in ours
    request.extend_from_slice(body);
    Some(request)
}
