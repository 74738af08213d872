//! The netlink socket: batches out, errors back to what caused them, dumps in.
//!
//! nfnetlink works while the source sleeps in `send` (`net/netfilter/nfnetlink.c`): when that returns, the batch is
//! committed or aborted and every answer waits in our queue. So nothing here blocks or times out.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use mnl::{Bus, Socket};
use nftnl::nftnl_sys::{NFTNL_EXPR_NAME, libc};
use nftnl::{Batch, MsgType};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{setsockopt, sockopt};

use super::error::SeatbeltError;
use super::libnftnl::{self, Message};
use super::object::{Kind, Object};

/// Room for one datagram of a dump (the kernel sizes them by the reader's buffer, up to 32 KiB).
const RECEIVE: usize = 1 << 16;

/// Bytes of answers that may wait.
const ANSWERS: usize = 1 << 22;

/// Attempts at a dump that nobody else's change interrupts.
const DUMP_ATTEMPTS: usize = 20;

/// `struct nfgenmsg`: family, version, resource id.
const GENERIC_HEADER: usize = 4;
/// `NFTA_GEN_ID`
const GENERATION_ID: u16 = 1;

/// One part of a batch and how to name it to a person.
pub(super) struct Step {
    pub(super) message: Message,
    pub(super) what: String,
}

/// A socket in the network namespace of the thread that opened it. Tables it makes with `flags owner` are its own.
pub(super) struct Transport {
    socket: Netlink,
    sequence: u32,
}

/// A non-blocking netlink socket for nftables, subscribed to `groups`. Programs that this one starts do not inherit it:
/// a table's owner lives as long as the last copy of its socket.
pub(super) struct Netlink(Socket);

// SAFETY: the structure behind `Socket`'s pointer is ours alone, and libmnl keeps nothing by thread (`src/socket.c`).
unsafe impl Send for Netlink {}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

impl Netlink {
    pub(super) fn open(groups: u32) -> Result<Self, SeatbeltError> {
        let attempt = "opening a socket for nftables";
        let socket = Socket::open(Bus::Netfilter).map_err(|why| match why.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => SeatbeltError::Unavailable(why),
            _ => SeatbeltError::Socket { attempt, why },
        })?;
        let failed = |why: io::Error| SeatbeltError::Socket { attempt, why };
        socket.bind(groups, 0).map_err(failed)?;
        let netlink = Self(socket);
        fcntl(&netlink, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|why| failed(why.into()))?;
        fcntl(&netlink, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|why| failed(why.into()))?;
        // Each message of a batch that is refused is answered with a copy of it: room for all, or nobody learns why.
        let _ = setsockopt(&netlink, sockopt::RcvBufForce, &ANSWERS);
        Ok(netlink)
    }

    /// One datagram into `buffer`, its length.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv_raw(buffer)
    }
}

impl Transport {
    pub(super) fn open() -> Result<Self, SeatbeltError> {
        Ok(Self { socket: Netlink::open(0)?, sequence: 0 })
    }

    /// The socket's address: the kernel names the author of a change by it, and the owner of a table.
    pub(super) fn port(&self) -> u32 {
        self.socket.0.portid()
    }

    /// Commits all steps or none.
    pub(super) fn commit(&mut self, steps: &mut [Step]) -> Result<(), SeatbeltError> {
        let Some(last) = steps.last_mut() else { return Ok(()) };
        last.message.flags |= u16::try_from(libc::NLM_F_ACK).expect("a 16-bit flag");
        let mut batch = Batch::new();
        for step in &*steps {
            batch.add(&step.message, MsgType::Add);
        }
        let batch = batch.finalize();
        let bytes = batch.iter().collect::<Vec<_>>().concat();
        // Since 6.10 the begin and end messages have sequence numbers too: see nftnl's `Batch`.
        let numbers = batch.sequence_numbers();
        let first = numbers.start + u32::from(numbers.len() > steps.len());
        self.send(&bytes, "sending rules")?;

        let mut acknowledged = false;
        let mut refusal: Option<(Option<usize>, i32)> = None;
        self.receive("reading the answer to the rules", |header, body| {
            if header.kind != libc::NLMSG_ERROR {
                return;
            }
            let errno = -body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
            let index = header.sequence.checked_sub(first).map(|index| index as usize).filter(|i| *i < steps.len());
            acknowledged |= errno == 0 && index == Some(steps.len() - 1);
            if errno != 0 && refusal.is_none() {
                refusal = Some((index, errno));
            }
        })?;
        match refusal {
            None if acknowledged => Ok(()),
            None => Err(SeatbeltError::Socket {
                attempt: "waiting for the kernel to confirm the rules",
                why: ErrorKind::UnexpectedEof.into(),
            }),
            Some((Some(index), errno)) => Err(refused(&steps[..index], &steps[index], errno)),
            Some((None, libc::EPERM)) => Err(SeatbeltError::Forbidden),
            Some((None, errno)) => Err(SeatbeltError::Unavailable(io::Error::from_raw_os_error(errno))),
        }
    }

    /// All objects of a kind; `None` stands for one that libnftnl cannot read.
    pub(super) fn dump(
        &mut self,
        command: i32,
        kind: Kind,
        about: &Object,
    ) -> Result<Vec<Option<Object>>, SeatbeltError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(found) = self.dump_once(command, kind, about)? {
                return Ok(found);
            }
        }
        Err(SeatbeltError::Unsettled)
    }

    /// `None`: a change interrupted it.
    fn dump_once(
        &mut self,
        command: i32,
        kind: Kind,
        about: &Object,
    ) -> Result<Option<Vec<Option<Object>>>, SeatbeltError> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = Message {
            command: u16::try_from(command).expect("a message number is a byte"),
            flags: u16::try_from(libc::NLM_F_DUMP).expect("16-bit flags"),
            object: about.clone(),
        };
        let bytes = message.bytes(self.sequence);
        let sequence = self.sequence;
        self.send(&bytes, "asking for rules")?;
        let (mut found, mut interrupted, mut ended, mut failed) = (Vec::new(), false, false, 0);
        self.receive("reading rules", |header, body| {
            interrupted |= i32::from(header.flags) & libc::NLM_F_DUMP_INTR != 0;
            if header.sequence != sequence {
                // An answer to something else.
            } else if header.kind == libc::NLMSG_ERROR || header.kind == libc::NLMSG_DONE {
                ended = true;
                failed = -body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
            } else {
                found.push(libnftnl::read(kind, header.message));
            }
        })?;
        match failed {
            _ if interrupted || !ended => Ok(None),
            0 => Ok(Some(found)),
            libc::EINTR => Ok(None),
            libc::ENOENT => Ok(Some(Vec::new())),
            libc::EPERM => Err(SeatbeltError::Forbidden),
            // nfnetlink's answer where nf_tables is not there (`nfnetlink_rcv_msg`).
            errno @ (libc::EINVAL | libc::EOPNOTSUPP) => {
                Err(SeatbeltError::Unavailable(io::Error::from_raw_os_error(errno)))
            }
            errno => Err(SeatbeltError::Socket { attempt: "reading rules", why: io::Error::from_raw_os_error(errno) }),
        }
    }

    /// A number that changes with every commit to any table of this network namespace.
    pub(super) fn generation(&mut self) -> Result<Option<u32>, SeatbeltError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let command = u16::try_from(libc::NFT_MSG_GETGEN).expect("a message number is a byte");
        let message = Message { command, flags: 0, object: Object::new(Kind::Table) };
        self.send(&message.bytes(sequence), "asking for the rules' generation")?;
        let mut generation = None;
        self.receive("reading the rules' generation", |header, body| {
            if header.sequence == sequence && header.kind != libc::NLMSG_ERROR {
                let number = attribute(body, GENERATION_ID).and_then(|value| value.try_into().ok());
                generation = number.map(u32::from_be_bytes);
            }
        })?;
        Ok(generation)
    }

    fn send(&self, bytes: &[u8], attempt: &'static str) -> Result<(), SeatbeltError> {
        // A batch is one datagram. The plain limit is 208 KiB; CAP_NET_ADMIN may exceed it. If it may not, `send` says so.
        let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(bytes.len() * 2 + (1 << 16)));
        let sent = self.socket.0.send(bytes).map_err(|why| SeatbeltError::Socket { attempt, why })?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(SeatbeltError::Socket { attempt, why: ErrorKind::WriteZero.into() })
        }
    }

    /// Hands over every message that waits.
    fn receive(&self, attempt: &'static str, mut each: impl FnMut(&Header<'_>, &[u8])) -> Result<(), SeatbeltError> {
        let mut buffer = vec![0u8; RECEIVE];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(length) => split(&buffer[..length], &mut each),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(why) => return Err(SeatbeltError::Socket { attempt, why }),
            }
        }
    }
}

/// Why the kernel refused a step after these others of its batch, which it took.
fn refused(before: &[Step], step: &Step, errno: i32) -> SeatbeltError {
    let what = step.what.clone();
    let is_loaded = |module: &str| Path::new("/sys/module").join(module).exists();
    match missing_module(before, step, is_loaded).filter(|_| errno == libc::ENOENT) {
        Some(module) => SeatbeltError::NoModule { module, what },
        None => SeatbeltError::Refused { what, why: io::Error::from_raw_os_error(errno) },
    }
}

/// What an expression needs that is not part of `nf_tables` itself, in our tables' family.
const MODULES: [(&str, &str); 3] = [("fib", "nft_fib_inet"), ("ct", "nft_ct"), ("notrack", "nft_ct")];

/// To "no such file or directory" (`nft_expr_type_get`, `net/netfilter/nf_tables_api.c`): the module of an expression that is
/// the first of its kind. `is_loaded` knows no built-in ones, but those are not missing.
fn missing_module(before: &[Step], step: &Step, is_loaded: impl Fn(&str) -> bool) -> Option<&'static str> {
    let uses = |step: &Step, name: &str| {
        let rule = Some(&step.message.object).filter(|object| object.kind == Kind::Rule);
        rule.is_some_and(|rule| rule.inside.iter().any(|part| part.text(NFTNL_EXPR_NAME) == Some(name)))
    };
    let is_new = |name: &str| uses(step, name) && !before.iter().any(|before| uses(before, name));
    MODULES.iter().find(|(name, module)| is_new(name) && !is_loaded(module)).map(|(_, module)| *module)
}

/// A netlink message's header (`struct nlmsghdr`, `include/uapi/linux/netlink.h`).
pub(super) struct Header<'a> {
    pub(super) kind: i32,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
    pub(super) message: &'a [u8],
}

/// Splits a datagram into messages: header and body.
pub(super) fn split(datagram: &[u8], mut each: impl FnMut(&Header<'_>, &[u8])) {
    for message in mnl::NlMessages::new(datagram).map_while(Result::ok) {
        let [_, _, _, _, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3, body @ ..] = message else { return };
        let header = Header {
            kind: i32::from(u16::from_ne_bytes([*k0, *k1])),
            flags: u16::from_ne_bytes([*f0, *f1]),
            sequence: u32::from_ne_bytes([*s0, *s1, *s2, *s3]),
            port: u32::from_ne_bytes([*p0, *p1, *p2, *p3]),
            message,
        };
        each(&header, body);
    }
}

/// The value of a top-level attribute (`struct nlattr`: length, type, value, padding to four bytes).
pub(super) fn attribute(body: &[u8], wanted: u16) -> Option<&[u8]> {
    /// Without the flags for nested and big-endian (`NLA_TYPE_MASK`).
    const TYPE: u16 = 0x3fff;
    let mut rest = body.get(GENERIC_HEADER..)?;
    while let [l0, l1, t0, t1, ..] = rest {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([*t0, *t1]) & TYPE == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(kind: Kind, expressions: &[&str]) -> Step {
        let expression = |name: &&str| Object::new(Kind::Expression).with(NFTNL_EXPR_NAME, *name);
        let object = Object::new(kind).containing(expressions.iter().map(expression));
        Step { message: Message { command: 0, flags: 0, object }, what: "rule 2 of chain input".into() }
    }

    #[test]
    fn a_missing_module_is_named() {
        let chain = || step(Kind::Chain, &[]);
        let missing = |before: &[Step], expressions: &[&str]| {
            missing_module(before, &step(Kind::Rule, expressions), |module| module == "loaded")
        };
        assert_eq!(missing(&[chain()], &["meta", "lookup", "fib", "cmp"]), Some("nft_fib_inet"));
        assert_eq!(missing(&[chain()], &["ct", "bitwise"]), Some("nft_ct"));
        assert_eq!(missing(&[step(Kind::Rule, &["ct"])], &["ct", "fib"]), Some("nft_fib_inet"), "ct is there");
        assert_eq!(missing(&[step(Kind::Rule, &["fib"])], &["fib", "lookup"]), None, "a set is missing");
        assert_eq!(missing(&[], &["meta", "lookup"]), None);
        assert_eq!(missing_module(&[], &step(Kind::Rule, &["fib"]), |_| true), None, "a set or counter is missing");
        assert_eq!(missing_module(&[], &step(Kind::Rule, &[]), |_| false), None, "a rule that is deleted");
    }

    #[test]
    fn only_what_is_not_found_is_a_module() {
        let fib = step(Kind::Rule, &["fib"]);
        let other = refused(&[], &fib, libc::EINVAL);
        assert!(matches!(other, SeatbeltError::Refused { .. }), "{other}");
    }
}
